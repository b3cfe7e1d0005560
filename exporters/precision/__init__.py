"""Graphs in 8 or 16 bits instead of 32: faster on some processors, and less exact."""
