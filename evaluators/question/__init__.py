"""A question and its answer: problem, verdict, certificate."""
