"""Chaos: what is promised to hold whatever happens, tried with everything that can happen."""
