"""The errors that a person can act on: one line with what, where, and what to do."""


class EdgeError(Exception):
    """Something outside the program is wrong: a file, a device, a request. Exit code 1."""


class UsageError(EdgeError):
    """The command itself asks for something that cannot be. Exit code 2."""
