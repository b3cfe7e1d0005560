"""Whether the extra `prune` is installed; light, so that a command can ask first."""

from __future__ import annotations

import importlib.util

from runtime_bench.errors import EdgeError


def need_prune_extra() -> None:
    """Raise unless the extra `prune` is installed."""
    missing = [
        name
        for name in ("torch", "ultralytics", "onnx", "onnxsim", "safetensors", "jinja2")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise EdgeError(
            f"this command needs {', '.join(missing)}; "
            "install them with: pip install 'xprune-edge[prune]' (Python 3.11 or newer)"
        )
