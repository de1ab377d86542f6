"""Training recipes: they use the evaluators' own bounds, and what they train is evaluated anew."""
