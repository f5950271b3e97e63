"""Fault injection on real processes: a seeded schedule of faults under traffic, and a check of everything afterwards."""
