"""Lipschitz constants: proved norms of operators, constants of whole networks."""
