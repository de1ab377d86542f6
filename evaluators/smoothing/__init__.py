"""Randomized smoothing: procedures, confidence bounds, certificates."""
