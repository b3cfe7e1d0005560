"""Models by family: built, filled with weights without running foreign code, and read."""
