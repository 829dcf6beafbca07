"""Obligor: a credit-risk decision service for companies that sell on credit."""
