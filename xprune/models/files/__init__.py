"""Files of weights: what is read of them, and our own."""
