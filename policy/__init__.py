"""Decisions about a customer: rating, limits, terms, prices, collecting.

The room is pure: no clock, no database, no model, and money stays in Decimal.
"""
