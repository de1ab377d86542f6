"""Branch and bound: domains, branching, clipping, splitting of inputs, attacks."""
