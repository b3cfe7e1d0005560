"""The levels of a head: what convolutions give for maps of several sizes, joined by anchors."""

import onnx_ir as ir

from exporters.passes.convolution import only_reader, read_convolution
from exporters.rewrites.edit import is_plain, static_shape


def read_levels(joined: ir.Value | None) -> list[ir.Value] | None:
    """Return the convolutions' outputs (1, c, h, w) that make up `joined`, (1, c, anchors)."""
    concat = None if joined is None else joined.producer()
    shape = static_shape(joined)
    if concat is None or not is_plain(concat, "Concat") or shape is None or len(shape) != 3:
        return None
    if concat.attributes.get_int("axis", 0) not in (2, -1):
        return None
    levels = []
    for part in concat.inputs:
        reshape = None if part is None else part.producer()
        if reshape is None or not is_plain(reshape, "Reshape"):
            return None
        level, flat = reshape.inputs[0], static_shape(part)
        whole = static_shape(level)
        if level is None or whole is None or len(whole) != 4 or flat is None:
            return None
        if flat != (whole[0], whole[1], whole[2] * whole[3]) or only_reader(level) is None:
            return None
        if read_convolution(level.producer()) is None or only_reader(part) is not concat:
            return None
        levels.append(level)
    return levels
