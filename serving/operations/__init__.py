"""Backup, restore and a check of an installation."""
