"""Spare a test what it does not look at: exporting the same network again, and long timing."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

_GRAPHS: dict[str, Any] = {}


def export_once(patch: pytest.MonkeyPatch) -> None:
    """Let a network that this test session has exported before be exported from memory."""
    from exporters import graph

    build = graph.build_graph

    def build_once(
        module: Any, *, size: tuple[int, int], probes: Any, output_name: str = "output0"
    ) -> Any:
        digest = hashlib.sha256(f"{module} {size}".encode())
        for name, tensor in module.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        key = digest.hexdigest()
        if key not in _GRAPHS:
            _GRAPHS[key] = build(module, size=size, probes=probes, output_name=output_name)
        return copy.deepcopy(_GRAPHS[key])

    for user in ("exporters.bundle", "xprune.stages.workbench"):
        patch.setattr(f"{user}.build_graph", build_once)


def spare_rewrites(patch: pytest.MonkeyPatch) -> None:
    """Let every rewrite be kept, whatever it brings here, after a short look."""
    from runtime_bench.timing.compare import compare_in_turn

    def always_faster(first: Any, second: Any, **settings: Any) -> Any:
        found = compare_in_turn(first(), second(), min_rounds=20, min_time_s=0.0)
        return replace(found, ratio=1.1, interval=(1.05, 1.15))

    patch.setattr("exporters.keep_faster.compare_opened", always_faster)


def measure_briefly(patch: pytest.MonkeyPatch) -> None:
    """Let every timing end after its least number of runs; no figure means anything then."""
    from runtime_bench.bench.benchmark import run_benchmark
    from runtime_bench.timing.compare import time_in_turn

    def in_turn(arms: Any, *, rounds: int = 20, **settings: Any) -> Any:
        return time_in_turn(arms, min_rounds=rounds, min_time_s=0.0, max_time_s=9.0, seed=0)

    def bench(artifact: Any, *, settings: Any, **rest: Any) -> Any:
        brief = replace(settings, min_runs=5, min_time_s=0.0)
        return run_benchmark(artifact, settings=brief, **rest)

    patch.setattr("runtime_bench.timing.openings.time_in_turn", partial(in_turn, rounds=5))
    patch.setattr("xprune.variants.lineup.time_in_turn", in_turn)
    spare_rewrites(patch)
    patch.setattr("xprune.stages.measure.run_benchmark", bench)
