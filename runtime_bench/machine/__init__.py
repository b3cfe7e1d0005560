"""What machine measures: its parts, its state, and how many threads it really has."""
