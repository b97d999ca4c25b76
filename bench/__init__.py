"""Ours against today's ways, in one run: `python -m bench`."""
