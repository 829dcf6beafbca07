"""Collecting overdue debts: priority, worklist, late interest, provisions."""
