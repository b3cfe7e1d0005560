"""Rewrites that change no detection, only how long onnxruntime takes for it.

Each is one file with the reason why it is faster, and has three parts as the passes have:
`requires`, `call`, `ensures`. None of them is right for every machine: which ones are faster
on one is found out by `exporters.keep_faster`, and the caller names them.
"""

from collections.abc import Iterable

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from exporters.passes import Rewrite
from exporters.rewrites.boxes_where_found import find_boxes
from exporters.rewrites.split_convolution import find_split
from exporters.rewrites.straight_to_nms import find_detour
from exporters.rewrites.upsample_later import find_upsample
from exporters.rewrites.weigh_bins import find_bins
from exporters.rewrites.winograd import find_large, find_small

_REDUCE_OPSET = 18  # ReduceMax takes its axes as an input from here on

# In the order in which they run.
REWRITES: dict[str, Rewrite] = {
    "split_convolution": Rewrite(find_split),
    "upsample_later": Rewrite(find_upsample),
    "weigh_bins": Rewrite(find_bins, _REDUCE_OPSET),
    "straight_to_nms": Rewrite(find_detour),
    "boxes_where_found": Rewrite(find_boxes, _REDUCE_OPSET),
    "winograd_large": Rewrite(find_large),
    "winograd_small": Rewrite(find_small),
}


def run_rewrites(
    model: onnx.ModelProto, names: Iterable[str]
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Run some rewrites, and return a new checked graph and the number of places of each.

    A rewrite that finds no place is not counted; a graph that is not as it expects has none.

    Args:
        model: A finished graph, with its raw output or with NMS. It is not changed.
        names: Keys of `REWRITES`; they run in its order, whatever the order here.
    """
    wanted = set(names)
    unknown = wanted - set(REWRITES)
    assert not unknown, f"no rewrites are called {unknown}"
    graph = ir.from_proto(model)
    counts: dict[str, int] = {}
    for name, rewrite in REWRITES.items():
        if name not in wanted or not rewrite.requires(graph):
            continue
        places = rewrite.call(graph)
        if places:
            assert rewrite.ensures(graph), f"{name} left something to do"
            counts[name] = places
            graph = ShapeInferencePass()(graph).model
    rewritten = ir.to_proto(graph)
    if counts:
        onnx.checker.check_model(rewritten, full_check=True)
    return rewritten, counts
