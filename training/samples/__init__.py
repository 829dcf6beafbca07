"""Rows with labels: what a default is, and as-of dates."""
