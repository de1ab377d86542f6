"""Deterministic evaluators: a certificate is a proof."""
