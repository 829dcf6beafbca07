"""What a ledger is, where it is read from, and what of it was known on a date."""
