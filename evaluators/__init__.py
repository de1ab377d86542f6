"""Evaluators: what proves, measures or refutes the robustness of a network."""
