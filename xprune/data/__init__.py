"""Pictures and targets in: which pictures serve for what, and as tensors."""
