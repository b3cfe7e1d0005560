"""The only import of Ultralytics: lazy, offline, and without its lasting side effects.

Importing it writes a settings file, sets `OMP_NUM_THREADS=1` for every later child process and
replaces `torch.save` and `PIL.Image.open` (the latter installs a package when a picture is
broken), among others. All of that is undone here.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import _tensor_str

from runtime_bench.errors import EdgeError

IMPORT_ENVIRONMENT = {
    "YOLO_AUTOINSTALL": "False",
    "YOLO_OFFLINE": "True",
    "YOLO_VERBOSE": "False",
    "ULTRALYTICS_SAFE_LOAD": "True",
}


@cache
def tasks() -> Any:
    """Return `ultralytics.nn.tasks`.

    Raises:
        EdgeError: If Ultralytics is not installed, or too old to build without `eval`.
    """
    if "ultralytics" in sys.modules:
        module = _import("ultralytics.nn.tasks")
    else:
        with _guarded_import():
            module = _import("ultralytics.nn.tasks")
    guard = getattr(module, "_SafeLoad", None)
    if guard is None or not guard.SUPPORTED:
        raise EdgeError(
            "the installed Ultralytics or PyTorch cannot build models without eval();"
            " install the versions of constraints.txt (ultralytics 8.4.190, torch 2.6 or later)"
        )
    return module


def part(module: str, name: str) -> Any:
    """Return `name` from the Ultralytics module `module`, such as "utils.tal"."""
    tasks()
    return getattr(import_module(f"ultralytics.{module}"), name)


@contextmanager
def without_eval() -> Iterator[None]:
    """Let Ultralytics build models on its restricted path only, which has no `eval`.

    The default activation of its convolutions, which an architecture sets for the whole
    process, is restored as well; Ultralytics forgets that when a build fails.
    """
    module = tasks()
    before, activation = module.SAFE_LOAD, module.Conv.default_act
    module.SAFE_LOAD = True
    try:
        assert module._SafeLoad.restricted()
        yield
    finally:
        module.SAFE_LOAD, module.Conv.default_act = before, activation


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise EdgeError(
            f"YOLO models need the package '{error.name}', which is not installed;"
            " install xprune-edge[prune]"
        ) from None


@contextmanager
def _guarded_import() -> Iterator[None]:
    environment = dict(os.environ)
    # OpenCV points Qt and the dynamic loader at itself; children of this process need neither.
    cv2 = _import("cv2")
    numpy_print, torch_print = np.get_printoptions(), _torch_print_options()
    torch_save, image_open, cv_threads = torch.save, Image.open, cv2.getNumThreads()
    folder = tempfile.mkdtemp(prefix="xprune-ultralytics-")
    os.environ.update(IMPORT_ENVIRONMENT, YOLO_CONFIG_DIR=folder, MPLCONFIGDIR=folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.save, Image.open = torch_save, image_open
        np.set_printoptions(**numpy_print)
        torch.set_printoptions(**torch_print)  # type: ignore[no-untyped-call]
        cv2.setNumThreads(cv_threads)
        shutil.rmtree(folder, ignore_errors=True)


def _torch_print_options() -> dict[str, Any]:
    kept = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")
    return {name: getattr(_tensor_str.PRINT_OPTS, name) for name in kept}
