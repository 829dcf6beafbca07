"""Readers of bank statements and electronic invoices."""
