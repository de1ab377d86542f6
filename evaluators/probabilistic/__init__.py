"""Probabilistic evaluators: a certificate holds with a stated confidence."""
