"""What we do about a customer: pure rules over a PD and an account, money in Decimal."""
