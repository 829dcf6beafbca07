"""The record: append-only, encrypted, signed, provable; it knows nothing of credit."""
