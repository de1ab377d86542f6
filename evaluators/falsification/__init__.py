"""Attacks: they find witnesses and can never certify."""
