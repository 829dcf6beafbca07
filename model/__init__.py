"""A fitted model as it scores and explains; no training library."""
