"""Every method of `xprune-edge frontier` by name."""

from __future__ import annotations

from collections.abc import Mapping

from xprune.config import AUTO, PRECISIONS
from xprune.frontier.arms import Method
from xprune.frontier.control import zeroed_method
from xprune.frontier.line import line_method
from xprune.frontier.sizes import input_method, knobs_method

INT8 = "int8"
PAPER = {"criterion": "grad_act", "substitute": "identity"}

METHODS: Mapping[str, Method] = {
    "ours": line_method("every knob together with layers", imgsz=AUTO, precision=AUTO),
    "ours_float": line_method("the same, but in 32 bits", imgsz=AUTO),
    "knobs_only": knobs_method(PRECISIONS),
    "knobs_only_float": knobs_method(PRECISIONS[:1]),
    "input": input_method(),
    "input_int8": input_method(INT8),
    # Layers by other scores, at the unpruned model's size.
    "grad_act": line_method("layers by the seed paper's score, bypassed", **PAPER),
    "grad_act_zeroed": zeroed_method(
        "the same layers, zeroed and not cut: a control", like="grad_act", **PAPER
    ),
    "grad_act_int8": line_method("grad_act in 8 bits", precision=INT8, **PAPER),
    "l1": line_method("layers by the L1 norm of their weights", criterion="l1"),
    "l1_int8": line_method("l1 in 8 bits", criterion="l1", precision=INT8),
    "random": line_method("layers at random", criterion="random"),
    "random_int8": line_method("random in 8 bits", criterion="random", precision=INT8),
}
