"""Run code in a fresh interpreter, on wish one where some packages seem not to be installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TRAINING = ("torch", "torchvision", "ultralytics", "safetensors")
EXPORTING = ("onnx", "onnx_ir", "onnxscript", "onnxsim", "onnxslim")
EXTRA = (*TRAINING, *EXPORTING)
HEAVY = (*EXTRA, "cv2", "jinja2", "matplotlib", "numpy", "onnxruntime", "PIL", "pycocotools")

# The finder of installed packages finds nothing, as if they were not there; an import hook that
# raises would also break code that only asks whether a package is there.
_HIDE = """
from importlib.machinery import PathFinder
find_installed = PathFinder.find_spec

def find_visible(name, *rest):
    return None if name.partition(".")[0] in {hidden!r} else find_installed(name, *rest)

PathFinder.find_spec = staticmethod(find_visible)
"""

# What `xprune-edge ARGUMENTS` does, without ending the interpreter.
RUN_COMMAND = """
import sys
from xprune.cli import main

def run(*arguments):
    sys.argv = ["xprune-edge", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0
"""


def run_fresh(code: str, *, hidden: Collection[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new interpreter that sees the repository and not the `hidden`."""
    hide = _HIDE.format(hidden=set(hidden)) if hidden else ""
    return subprocess.run(
        [sys.executable, "-c", hide + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def printed(code: str, *, hidden: Collection[str] = ()) -> list[str]:
    """Run Python code that must succeed, and return the words of its last line of output."""
    done = run_fresh(code, hidden=hidden)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return lines[-1].split() if lines else []


def module_names(package: str) -> list[str]:
    """Return the dotted names of all modules in the folder of a package, sorted."""
    files = sorted((ROOT / package).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]
