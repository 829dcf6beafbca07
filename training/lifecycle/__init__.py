"""Registry, gates of promotion, recalibration, monitoring."""
