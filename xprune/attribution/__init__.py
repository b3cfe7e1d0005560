"""What is a layer worth? Every answer is an estimate of what the loss does when a gate closes."""
