"""Bank statements and electronic invoices as rows; nothing is known of ledgers."""
