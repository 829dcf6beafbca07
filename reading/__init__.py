"""Reading a ledger from files and databases through a mapping."""
