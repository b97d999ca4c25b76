"""The main job, to look at: see `__main__`."""
