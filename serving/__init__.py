"""Answering, explaining, recording."""
