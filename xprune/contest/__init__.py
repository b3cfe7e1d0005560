"""Artifacts side by side: timed in turn in one run, scored on the same pictures."""
