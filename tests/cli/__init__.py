"""Tests of the command redis-baton, as a person or a script runs it, on real servers."""
