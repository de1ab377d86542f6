"""The board: evaluations ranked, flagged and decided upon."""
