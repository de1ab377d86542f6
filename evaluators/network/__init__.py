"""Networks: affine maps, elementwise functions, maxima, ensembles, specifications."""
