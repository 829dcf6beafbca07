"""Decisions about the credit of a customer."""
