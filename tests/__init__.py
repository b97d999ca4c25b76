"""Tests, on real servers wherever a server is in play."""
