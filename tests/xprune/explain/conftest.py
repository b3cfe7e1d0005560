"""The made-up run as fixtures."""

from __future__ import annotations

import copy

import pytest

from tests.xprune.explain.made_up_run import Run, make_run


@pytest.fixture(scope="session")
def plausible_run() -> Run:
    """The run as it was made; read it, never change it."""
    return make_run()


@pytest.fixture
def run(plausible_run: Run) -> Run:
    """The run as a copy of its own, for a test to change."""
    return copy.deepcopy(plausible_run)
