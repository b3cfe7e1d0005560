"""Every criterion, substitute and recovery goes from the scores to a checkpoint that loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import LITTLE, TINY_YAML, run
from xprune.config import CRITERION_NAMES, RECOVERIES, SUBSTITUTE_NAMES
from xprune.layers.substitutes import FAMILIES
from xprune.models.load import load_detector

CHOICES = [
    *(("--criterion", name) for name in CRITERION_NAMES),
    *(("--substitute", name) for name in SUBSTITUTE_NAMES),
    *(("--recover", name) for name in RECOVERIES),
    ("--fraction", "0.1"),
    ("--conf", "0.5"),
    ("--seed", "7"),
]


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_every_choice_is_taken(choice: tuple[str, str], work: Path) -> None:
    """What was chosen stands in the plan; the cut network is rebuilt from its file alone."""
    # Levels between the others exist where a block has 80 channels and more inside.
    wide = TINY_YAML.replace("[16, True]", "[256, True]")
    (work / "wide.yaml").write_text(wide)
    name = "wide.yaml" if choice[1] in ("thin-62", "thin-87") else "tiny.yaml"
    model = ("--model", name, "--weights", "none", "--data", "builtin")
    little = (*LITTLE[:4], *LITTLE[6:])  # without --layers
    # Of the tiny network one layer is wide enough for the dearest rungs.
    count = "1" if choice[0] == "--substitute" else "2"
    amount = () if choice[0] == "--fraction" else ("--layers", count)

    ends = [
        run("attribute", *model, *little, *amount, *choice, "--out", "chosen"),
        run("prune", "--out", "chosen"),
    ]

    assert [done.exit_code for done in ends] == [0, 0], ends[-1].output
    plan = json.loads((work / "chosen" / "plan.json").read_text())
    detector = load_detector(str(work / "chosen" / "pruned.safetensors"))
    assert detector.plan
    if choice[0] == "--criterion":
        assert plan["criterion"] == choice[1]
    if choice[0] == "--substitute" and choice[1] != "auto":
        levels = FAMILIES.get(choice[1], (choice[1],))
        assert {entry["substitute"] for entry in plan["choices"]} <= set(levels)
    if choice[0] == "--fraction":
        assert plan["asked"]["fraction"] == 0.1
