"""Every run that is written down in configs/ is one that the command accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from xprune.config import make_config, read_config

FILES = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_configuration_is_accepted(file: Path) -> None:
    """Each key is an option, and each value one that the option takes."""
    pytest.importorskip("tomllib", reason="--config needs Python 3.11")

    assert make_config(read_config(file)).model


def test_there_is_a_configuration() -> None:
    """The test above had something to read."""
    assert FILES
