"""Bound propagation: intervals, zonotopes, linear relaxations and the backward walk."""
