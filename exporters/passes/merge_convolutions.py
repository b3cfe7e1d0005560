"""Two convolutions in a row, one of them 1x1 and nothing in between, are one convolution.

With A before B: B(A(x)) = W_B (W_A x + b_A) + b_B. Where A is the 1x1 one and B puts zeros
around its input, B would see zeros and not b_A at the border: then A may have no bias.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx_ir as ir

from exporters.passes.convolution import (
    Convolution,
    only_reader,
    read_convolution,
    remove,
    set_weights,
)


def find_convolutions(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first pair where the result is exact and not dearer."""
    for node in model.graph:
        second = read_convolution(node)
        if second is None or only_reader(node.inputs[0]) is not node:
            continue
        assert node.inputs[0] is not None
        first = read_convolution(node.inputs[0].producer())
        if first is not None and _is_exact(first, second) and _is_worth_it(first, second):
            return partial(_merge, model, first, second)
    return None


def _is_exact(first: Convolution, second: Convolution) -> bool:
    if first.groups != 1 or second.groups != 1:
        return False
    if second.is_pointwise:
        return True
    return first.is_per_pixel and (not second.padded or not first.bias.any())


def _is_worth_it(first: Convolution, second: Convolution) -> bool:
    """Whether the merged one multiplies no more; a 1x1 that narrows the channels may save."""
    inner_pixels = second.strides[0] * second.strides[1]  # for one output pixel
    window = np.prod(first.shape[2:]) * np.prod(second.shape[2:])  # one of them is 1
    before = np.prod(first.shape) * inner_pixels + np.prod(second.shape)
    return bool(second.shape[0] * first.shape[1] * window <= before)


def _merge(model: ir.Model, first: Convolution, second: Convolution) -> None:
    if second.is_pointwise:
        weight = np.einsum("om,mihw->oihw", second.weight[:, :, 0, 0], first.weight)
    else:
        weight = np.einsum("omhw,mi->oihw", second.weight, first.weight[:, :, 0, 0])
    bias = second.bias + second.weight.sum((2, 3)) @ first.bias
    if second.is_pointwise:
        _take_over_window(first, second)
    second.node.replace_input_with(0, first.node.inputs[0])
    remove(model, first.node)
    set_weights(model, second.node, weight, bias)


def _take_over_window(first: Convolution, second: Convolution) -> None:
    """Give the second node the first one's window, since the second sees single pixels."""
    attributes = second.node.attributes
    for name in ("kernel_shape", "pads", "dilations", "auto_pad"):
        attributes.pop(name, None)
        if name in first.node.attributes:
            attributes[name] = first.node.attributes[name]
    strides = [a * b for a, b in zip(first.strides, second.strides, strict=True)]
    attributes["strides"] = ir.AttrInt64s("strides", strides)
