"""What goes, and how: the latency table, the plan, and the plan timed."""
