"""Every method of `xprune-edge frontier` by name."""

from __future__ import annotations

from collections.abc import Mapping

from xprune.frontier.arms import Method
from xprune.frontier.line import line_method
from xprune.frontier.sizes import input_method

METHODS: Mapping[str, Method] = {
    "ours": line_method("every knob and the layers that matter least"),
    "input": input_method(),
    "grad_act": line_method(
        "layers by the score of the seed paper, bypassed",
        criterion="grad_act",
        substitute="identity",
    ),
    "l1": line_method("layers by the L1 norm of their weights", criterion="l1"),
    "random": line_method("layers at random", criterion="random"),
}
