"""What is decided about a customer."""
