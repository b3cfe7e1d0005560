"""The settings of a session as a value."""

from __future__ import annotations

import dataclasses

import pytest

from runtime_bench.runtime.settings import SessionSettings


def test_settings_do_not_change_under_a_measurement():
    """They are frozen, and equal by value."""
    settings = SessionSettings(threads=2)

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.threads = 4  # type: ignore[misc]
    assert settings == SessionSettings(provider="cpu", threads=2, optimisation="all")
