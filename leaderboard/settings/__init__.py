"""Settings and the questions they ask."""
