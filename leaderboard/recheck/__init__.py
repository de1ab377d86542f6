"""Proving stored rows again, independently of what made them."""
