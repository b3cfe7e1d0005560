"""A module becomes a checked artifact: export, simplify, rewrite, compare, write."""
