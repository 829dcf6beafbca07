"""Models that were made elsewhere: read as data, validated, registered like ours."""
