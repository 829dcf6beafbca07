"""What is done about overdue debts."""
