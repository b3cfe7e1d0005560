"""AP against measured latency: ours and the alternatives on the same axes, for every budget."""
