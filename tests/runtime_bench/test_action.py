"""The GitHub Action runs the real command, with its inputs as variables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def action(repository: Path) -> dict[str, Any]:
    """What action.yml says."""
    content: dict[str, Any] = yaml.safe_load((repository / "action.yml").read_text())
    return content


@pytest.mark.parametrize(("limit_mb", "code"), [("9", 0), ("0.000001", 3)])
def test_its_step_ends_as_the_gate_does(
    action: dict[str, Any], repository: Path, tmp_path: Path, limit_mb: str, code: int
) -> None:
    """The job's summary gets the table, the file the test report; a path may have spaces."""
    step = action["runs"]["steps"][-1]
    inputs = {name: entry.get("default", "") for name, entry in action["inputs"].items()}
    artifact = tmp_path / "an artifact"
    artifact.symlink_to(repository / "tests" / "data" / "tiny_artifact")
    inputs |= {
        "candidate": str(artifact),
        "limits": f"--max-size-mb {limit_mb}",
        "junit": str(tmp_path / "gate report.xml"),
    }
    given = {
        name: inputs[re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", text)[1]]  # type: ignore[index]
        for name, text in step["env"].items()
    }
    summary = tmp_path / "summary.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **given, "PATH": path, "GITHUB_STEP_SUMMARY": str(summary)}

    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert summary.read_text().startswith("### Gate: ")
    assert (tmp_path / "gate report.xml").exists()


def test_no_input_is_code(action: dict[str, Any]) -> None:
    """Whoever may write an input must not thereby write a command."""
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
