"""Evidence of a whole evaluation: making, keeping and proving certificates."""
