"""Take times and memory, alone or in turn, and say how sure they are."""
