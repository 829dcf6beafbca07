"""What people do: cases, worklists, contacts."""
