"""When invoices are paid, expected cash, and loss given default."""
