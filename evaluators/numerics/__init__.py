"""Numerics that every room rests on: errors, outward rounding, deadlines."""
