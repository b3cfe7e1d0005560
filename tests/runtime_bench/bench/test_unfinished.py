"""A benchmark that was killed is told of by the next one, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime_bench.bench.unfinished import marked
from tests.runtime_bench.machine.made_up import RASPBERRY_PI, make

KILLED = """
import os, signal, sys
from pathlib import Path
from runtime_bench.bench.unfinished import marked
with marked(Path(sys.argv[1]), say=print, root=Path(sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path, repository: Path) -> Path:
    """A place for a result, beside which a benchmark was killed."""
    device = make(tmp_path / "device", RASPBERRY_PI)
    out = tmp_path / "results" / "result.json"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, out, device], cwd=repository, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(list(out.parent.iterdir())) == 1
    return out


def test_the_next_one_tells_of_it(killed: Path) -> None:
    """With the memory there was, and what to do; then the mark is gone."""
    said: list[str] = []

    with marked(killed, say=said.append):
        pass

    (line,) = said
    assert line.startswith("The last benchmark into 'result.json' was killed, or lost power.")
    assert "6144 MB of memory left when it began, within a limit of 2147 MB" in line
    assert "a smaller input, fewer --threads" in line
    assert list(killed.parent.iterdir()) == []


def test_one_into_another_file_says_nothing(killed: Path) -> None:
    """The mark is of one result alone."""
    said: list[str] = []

    with marked(killed.with_name("other.json"), say=said.append):
        pass

    assert said == []
    assert len(list(killed.parent.iterdir())) == 1


def test_one_that_still_runs_is_left_alone(tmp_path: Path) -> None:
    """Two benchmarks into one file are strange, but nobody was killed."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / f".result.json.measuring-{other.pid}").write_text("x")
        said: list[str] = []

        with marked(tmp_path / "result.json", say=said.append):
            assert len(list(tmp_path.iterdir())) == 2

        assert said == []
        assert len(list(tmp_path.iterdir())) == 1
        other.communicate(b"\n")


def test_an_error_leaves_no_mark(tmp_path: Path) -> None:
    """Who fails can tell by himself."""
    with pytest.raises(ValueError, match="no"), marked(tmp_path / "r.json", say=pytest.fail):
        raise ValueError("no")

    assert list(tmp_path.iterdir()) == []
    with marked(None, say=pytest.fail):
        assert list(tmp_path.iterdir()) == []


def test_a_real_one_is_marked_while_it_runs(tmp_path: Path, repository: Path) -> None:
    """`bench --out` that is killed leaves no result, and the next one tells."""
    artifact = repository / "tests" / "data" / "tiny_artifact"
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "runtime_bench", "bench", artifact, "--out", out]
    with subprocess.Popen([*map(str, command), "--min-time", "600"], cwd=repository) as running:
        mark = tmp_path / f".result.json.measuring-{running.pid}"
        deadline_s = time.monotonic() + 60
        while not mark.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)

    again = subprocess.run(
        [*map(str, command), "--min-time", "0", "--min-runs", "2"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "was killed, or lost power" in again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
