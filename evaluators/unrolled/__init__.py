"""A network unrolled to its unstable neurons, and the dual ascent on them."""
