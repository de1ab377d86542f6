"""Evaluating models: plans, shards, workers, provenance."""
