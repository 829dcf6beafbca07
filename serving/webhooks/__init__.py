"""Webhooks: what happened, sent to other systems; each event at least once."""
