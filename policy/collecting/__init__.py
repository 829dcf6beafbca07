"""What is done about overdue debts: priority, worklist, late interest, provisions."""
