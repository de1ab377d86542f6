"""Networks around an example as exact linear systems with pairs of a function, decided exactly."""
