"""What was decided: append-only, encrypted, signed, provable; knows nothing of credit."""
