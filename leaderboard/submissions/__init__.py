"""Submissions: manifest, folder, models, weights, owners."""
