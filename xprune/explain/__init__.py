"""Show a run to a person: what went, why, and what it cost and gave."""
