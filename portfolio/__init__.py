"""Every customer at once."""
