"""What is a layer worth? Every answer estimates what the loss does when a gate closes."""
