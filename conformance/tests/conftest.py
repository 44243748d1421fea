"""Hypothesis decides by the test alone, and a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("hga", deadline=None, derandomize=True)
settings.load_profile("hga")
