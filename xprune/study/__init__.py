"""The seed paper's table, ours: criteria, zeroing, bypassing and our default, side by side."""
