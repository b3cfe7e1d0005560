"""The package itself is light: `load` costs nothing until it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def heavy_modules_after(program):
    """Return which heavy modules a fresh interpreter has loaded after `program`."""
    look = "\nimport sys; print(*sorted({'numpy', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program + look],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("program", "heavy"),
    [
        ("import runtime_bench; runtime_bench.load", []),
        ("import runtime_bench.artifact.detector", ["PIL", "numpy", "onnxruntime"]),
    ],
)
def test_importing_the_package_loads_nothing_heavy(program, heavy):
    """Nothing heavy with the package; its twin shows that the check can fail."""
    assert heavy_modules_after(program) == heavy
