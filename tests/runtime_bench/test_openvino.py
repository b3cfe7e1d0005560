"""A provider besides the CPU's, really run: OpenVINO's wheel computes on this processor."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

WHEEL = "onnxruntime-openvino"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `onnxruntime` goes before the installed one, and has OpenVINO in it."""
    if platform.machine() != "x86_64":
        pytest.skip(f"{WHEEL} has no wheel for {platform.machine()}")
    folder = tmp_path_factory.mktemp("openvino")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
    done = subprocess.run(
        [*pip, "--target", str(folder), WHEEL], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"{WHEEL} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.mark.slow
def test_what_ran_where_is_in_the_result(wheel: Path, repository: Path, tmp_path: Path) -> None:
    """The threads that were asked for reach it, and it runs what the CPU's provider would."""
    out = tmp_path / "result.json"
    command = ["bench", str(repository / "tests" / "data" / "tiny_artifact"), "--threads", "1"]
    command += ["--min-runs", "5", "--min-time", "0", "--out", str(out)]
    command += ["--provider", "openvino", "--provider-option", "device_type=CPU"]

    done = subprocess.run(
        [sys.executable, "-m", "runtime_bench", *command],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["provider"] == "OpenVINOExecutionProvider"
    assert result["settings"]["provider_options"] == {"device_type": "CPU"}
    share = result["providers"]["OpenVINOExecutionProvider"]
    assert share["nodes"] >= 1
    assert share["time_share"] > 0.5
