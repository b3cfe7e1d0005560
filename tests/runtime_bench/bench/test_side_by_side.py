"""Artifacts that take turns, through the library and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime_bench.bench.side_by_side import compare_artifacts
from runtime_bench.cli import main
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.runtime.settings import SessionSettings

ONE_THREAD = SessionSettings(threads=1)


@pytest.fixture
def artifact(repository: Path) -> Path:
    """A detector that always finds one "square"."""
    return repository / "tests" / "data" / "tiny_artifact"


def test_each_is_compared_with_the_first(artifact: Path) -> None:
    """One round times each once; who is first has nothing to be compared with."""
    found = compare_artifacts([artifact] * 3, session=ONE_THREAD, within=0.03, max_time_s=0.05)

    assert len(found.compared.times_s) == 3
    assert len({len(times_s) for times_s in found.compared.times_s}) == 1
    assert len(found.verdicts) == 2
    low, high = found.compared.found[0].interval
    assert low < found.compared.found[0].ratio < high


def test_the_command_shows_and_keeps_it(artifact: Path, tmp_path: Path) -> None:
    """The file has every sample; the table says how the second one stands."""
    out = tmp_path / "compared.json"
    options = ("--within", "90%", "--max-time", "0.2", "--threads", "1", "--out", str(out))

    done = CliRunner().invoke(main, ["compare", str(artifact), str(artifact), *options])

    assert done.exit_code == 0, done.output
    assert "same (within 90" in done.output
    content = json.loads(out.read_text())
    assert content["format"] == "xprune-edge comparison"
    first, second = content["artifacts"]
    assert first["against_first"] is None
    assert second["against_first"]["verdict"] == "same"
    assert len(second["latency_samples_s"]) == len(first["latency_samples_s"]) >= 20


@pytest.mark.parametrize("text", ["three", "-1%", "101%", "1.5", "nan", ""])
def test_what_is_no_share_is_refused(text: str, artifact: Path) -> None:
    """One line says how a share is written."""
    done = CliRunner().invoke(main, ["compare", str(artifact), str(artifact), "--within", text])

    assert done.exit_code == 2
    assert "write 5% or 0.05" in done.output


def test_bad_artifacts_are_refused_before_anything_is_timed(
    artifact: Path, tmp_path: Path
) -> None:
    """One alone, one that is missing, one that is not what its manifest says."""
    changed = tmp_path / "artifact"
    shutil.copytree(artifact, changed)
    with (changed / "model.onnx").open("ab") as file:
        file.write(b"x")

    for artifacts, error, words in (
        ([artifact], UsageError, "name two or more"),
        ([artifact, tmp_path / "none"], EdgeError, "none"),
        ([artifact, changed], EdgeError, r"model\.onnx"),
    ):
        with pytest.raises(error, match=words):
            compare_artifacts(artifacts, within=0.03, max_time_s=0.1)
