"""The website, generated from stored rows."""
