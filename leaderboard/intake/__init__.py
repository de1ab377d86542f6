"""Accepting what comes from elsewhere: sandbox, confinement, acceptance."""
