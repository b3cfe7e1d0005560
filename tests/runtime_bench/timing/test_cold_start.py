"""A cold start: a process of its own, from its start to the first result."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.cold_start import cold_start


def test_the_parts_are_those_of_a_process(repository: Path) -> None:
    """Importing takes most of it, and the whole is no less than its parts."""
    model = repository / "tests" / "data" / "tiny_artifact" / "model.onnx"

    found = cold_start(model, size=(32, 64), settings=SessionSettings(threads=1), starts=1)

    assert found.import_s > 0.02
    assert found.load_s > 0
    assert found.first_run_s > 0
    assert found.total_s == pytest.approx(found.import_s + found.load_s + found.first_run_s)


def test_a_model_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    """The child's error comes through, without a traceback."""
    (tmp_path / "model.onnx").write_bytes(b"no model")

    with pytest.raises(EdgeError, match=r"starting it failed: .*cannot be loaded") as caught:
        cold_start(tmp_path / "model.onnx", size=(32, 64))

    assert "\n" not in str(caught.value)
