"""The documents say what is true: their examples run."""
