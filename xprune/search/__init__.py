"""Search: plans tried out, by what they do to the outputs, in the seconds that are given."""
