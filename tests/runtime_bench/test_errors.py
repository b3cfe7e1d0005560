"""The errors that a person can act on."""

from __future__ import annotations

from runtime_bench.errors import EdgeError, UsageError


def test_a_wrong_request_is_an_error_of_ours_too():
    """Whoever catches every error of ours catches wrong usage as well."""
    assert issubclass(UsageError, EdgeError)
