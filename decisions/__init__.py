"""One question, one recorded answer."""
