"""Which precisions are worth other sizes shows at one size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.shortcuts import spare_rewrites
from xprune.config import make_config
from xprune.run_folder import RunFolder
from xprune.stages.baseline import export_baseline
from xprune.stages.plan import request
from xprune.stages.workbench import Workbench
from xprune.variants.agreement import Agreement
from xprune.variants.lineup import Lineup, useful_precisions
from xprune.variants.variant import Variant

FLOAT, HALF, INT8 = (Variant((320, 320), name) for name in ("float32", "float16", "int8"))


def test_what_is_slower_and_no_better_leads_nowhere():
    """Half precision without the hardware for it, and floats where 8 bits lose nothing."""
    ratios = {FLOAT: 0.80, HALF: 0.95, INT8: 0.40}

    assert useful_precisions(ratios, {FLOAT: 0.505, HALF: 0.505, INT8: 0.500}) == [INT8]
    assert useful_precisions(ratios, {FLOAT: 0.505, HALF: 0.505, INT8: 0.450}) == [FLOAT, INT8]


def test_the_only_one_is_useful():
    """There is nothing to compare it with."""
    assert useful_precisions({FLOAT: 1.2}, {FLOAT: 0.1}) == [FLOAT]


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
