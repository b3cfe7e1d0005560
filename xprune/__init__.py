"""Score the layers of a detector, plan, cut, recover: what needs torch."""
