"""What a person reads at the end of a run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xprune.summary import show_summary

SIDE: dict[str, Any] = {
    "ap": 0.5,
    "ap50": 0.7,
    "latency_s": {"p50": 0.01, "p90": 0.011, "p99": None},
    "parameters": 1000,
    "size_bytes": 4000,
}
SUMMARY: dict[str, Any] = {
    "before": SIDE,
    "after": {**SIDE, "ap": 0.45},
    "speedup": 1.24,
    "speedup_interval": [1.2, 1.28],
    "removed": [],
    "asked": {"speedup": 1.2},
}


def shown(folder: Path, summary: dict[str, Any]) -> str:
    """Return what is printed for a summary."""
    (folder / "summary.json").write_text(json.dumps(summary))
    text = io.StringIO()
    show_summary(folder, Console(file=text, width=200))
    return text.getvalue()


@pytest.mark.parametrize(
    ("rewrites", "words"),
    [
        (
            {"rewrites": ["weigh_bins"], "speedup_rewrites": 1.081},
            "1.24 times as fast (1.20 to 1.28), of which 1.08 from rewrites that change no "
            "detection, 90.0% of the AP kept.",
        ),
        (
            {"rewrites": [], "speedup_rewrites": 1.0},
            "1.24 times as fast (1.20 to 1.28), 90.0% of the AP kept.",
        ),
        ({}, "1.24 times as fast (1.20 to 1.28), 90.0% of the AP kept."),
    ],
)
def test_the_last_lines_say_what_cost_no_accuracy(
    tmp_path: Path, rewrites: dict[str, Any], words: str
) -> None:
    """Also for a summary from before there were rewrites."""
    assert words in shown(tmp_path, {**SUMMARY, **rewrites})
