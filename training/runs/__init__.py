"""Training runs from start to end."""
