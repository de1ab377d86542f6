"""Properties of a network: decided by evaluators, refuted by exact counterexamples."""
