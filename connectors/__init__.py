"""Mappings for known systems, and the guess of one from headings."""
