"""What we know about a customer on a date."""
