"""One file a dataset: each defines `DATASET`."""
