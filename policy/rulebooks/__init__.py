"""Decision tables and rulebooks: read, proven, released."""
