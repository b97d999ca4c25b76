"""Tests of the Python package on real servers: one file a theme."""
