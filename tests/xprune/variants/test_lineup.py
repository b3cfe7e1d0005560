"""Which precisions are worth other sizes shows at one size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.shortcuts import spare_rewrites
from xprune.config import make_config
from xprune.run_folder import RunFolder
from xprune.stages.baseline import export_baseline
from xprune.stages.plan import request
from xprune.stages.workbench import Workbench
from xprune.variants.agreement import Agreement
from xprune.variants.lineup import Lineup, outdone, useful_precisions
from xprune.variants.variant import Measured, Variant

FLOAT, HALF, INT8 = (Variant((320, 320), name) for name in ("float32", "float16", "int8"))


def test_what_is_slower_and_no_better_leads_nowhere():
    """Half precision without the hardware for it, and floats where 8 bits lose nothing."""
    ratios = {FLOAT: 0.80, HALF: 0.95, INT8: 0.40}

    assert useful_precisions(ratios, {FLOAT: 0.505, HALF: 0.505, INT8: 0.500}) == [INT8]
    assert useful_precisions(ratios, {FLOAT: 0.505, HALF: 0.505, INT8: 0.450}) == [FLOAT, INT8]


def test_the_only_one_is_useful():
    """There is nothing to compare it with."""
    assert useful_precisions({FLOAT: 1.2}, {FLOAT: 0.1}) == [FLOAT]


def test_a_size_is_not_exported_where_another_precision_is_faster_and_better_for_sure():
    """As YOLOv8n on a CPU with fast 8 bits: a float of a smaller size cannot catch up."""
    known = [
        Measured(FLOAT, 0.78, 0.603),
        Measured(INT8, 0.40, 0.586),  # floats agree 1.029 times as well
        Measured(Variant((288, 384), "int8"), 0.42, 0.635),
        Measured(Variant((320, 448), "int8"), 0.53, 0.695),
    ]

    def told(height: int, width: int) -> bool:
        return outdone(Variant((height, width), "float32"), FLOAT, known)

    assert told(288, 320)  # at most 0.586 x 1.029, from 0.70 on: 0.635 is there at 0.42
    assert told(288, 384)  # at most 0.635 x 1.029, from 0.78 on: 0.695 is there at 0.53
    assert not told(160, 160)  # from 0.195 on, where nothing is known
    assert not told(320, 448)  # at most 0.715, and nothing reaches that
    assert not told(352, 352)  # nothing is known of a size that covers it


def test_the_fastest_precision_is_outdone_by_none():
    """Where floats are slower, they tell nothing against 8 bits."""
    known = [Measured(FLOAT, 0.78, 0.603), Measured(INT8, 0.40, 0.586)]

    assert not outdone(Variant((288, 288), "int8"), INT8, known)
    blind = [replace(known[0], agreement=0.0), known[1]]
    assert not outdone(Variant((288, 288), "int8"), INT8, blind)


def test_a_raw_head_is_judged_by_what_nms_leaves_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How good a variant is does not depend on who applies NMS."""
    spare_rewrites(monkeypatch)
    monkeypatch.setattr("xprune.variants.agreement.FEW", 16)
    options = {"imgsz": "auto", "speedup": 1.1, "raw": True, "threads": 1}
    config = make_config({"model": "builtin", "calibration_images": 16, **options})
    monkeypatch.setattr("xprune.variants.lineup.MOST_SIZES", 1)
    bench = Workbench(RunFolder(tmp_path / "run", config), lambda line: None)
    export_baseline(bench)

    lineup = Lineup(bench, request(config), Agreement(bench))
    measured, _ = lineup.measured()

    assert max(one.agreement for one in measured) > 0.3
