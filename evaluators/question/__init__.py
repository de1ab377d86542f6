"""A question and its answer: norm, region, problem, verdict, certificate."""
