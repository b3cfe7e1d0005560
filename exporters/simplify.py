"""Simplify a graph, but only as far as it still computes the same.

onnxsim has turned a computed shape into a wrong constant, and its own check passed. So each
result runs on all probes, against the graph as it was; on a difference, or if the tool
fails, the next tool is tried, and the manifest says which one it was in the end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxsim
import onnxslim
from numpy.typing import NDArray

from exporters.naming import restore_names_of
from exporters.parity import compare_tensors
from exporters.probes import Image
from exporters.strip import strip_origin
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import Session, open_session
from runtime_bench.runtime.settings import SessionSettings

Simplifier = Callable[[onnx.ModelProto], onnx.ModelProto]


@dataclass(frozen=True)
class Simplified:
    """A graph and the tool that made it simpler.

    Attributes:
        model: The graph.
        tool: A key of `SIMPLIFIERS`, or "none" if the graph is as it was.
    """

    model: onnx.ModelProto
    tool: str


def _onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified: onnx.ModelProto = onnxsim.simplify(model, check_n=0)[0]
    return simplified


def _onnxsim_without_shape_inference(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified: onnx.ModelProto = onnxsim.simplify(model, check_n=0, skip_shape_inference=True)[
        0
    ]
    return simplified


def _onnxslim(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified: onnx.ModelProto = onnxslim.slim(model)
    return simplified


# In the order in which they are tried.
SIMPLIFIERS: dict[str, Simplifier] = {
    "onnxsim": _onnxsim,
    "onnxsim without shape inference": _onnxsim_without_shape_inference,
    "onnxslim": _onnxslim,
}

# What the tools raise on a graph that they cannot take.
_TOOL_ERRORS = (
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)


def simplify(
    model: onnx.ModelProto,
    probes: Mapping[str, Image],
    *,
    simplifiers: Mapping[str, Simplifier] = SIMPLIFIERS,
) -> Simplified:
    """Return the first simplified graph that computes the same as `model` on all probes.

    Args:
        model: The graph as exported; it is not changed.
        probes: Inputs (1, 3, height, width) by name.
        simplifiers: Tools by name, in the order in which they are tried.
    """
    expected = _run_all(_open(model), probes)
    for tool, apply in simplifiers.items():
        try:
            candidate = restore_names_of(strip_origin(apply(_copy(model))))
            actual = _run_all(_open(candidate), probes)
        except (*_TOOL_ERRORS, EdgeError):
            continue
        if _agree(expected, actual) and _same_interface(model, candidate):
            return Simplified(candidate, tool)
    return Simplified(_copy(model), "none")


def _open(model: onnx.ModelProto) -> Session:
    return open_session(model.SerializeToString(), SessionSettings())


def _run_all(
    session: Session, probes: Mapping[str, Image]
) -> list[dict[str, NDArray[np.generic]]]:
    return [session.run(image) for image in probes.values()]


def _agree(
    expected: list[dict[str, NDArray[np.generic]]], actual: list[dict[str, NDArray[np.generic]]]
) -> bool:
    return all(
        before.keys() == after.keys()
        and all(
            compare_tensors(
                np.asarray(before[key], np.float32), np.asarray(after[key], np.float32)
            ).holds
            for key in before
        )
        for before, after in zip(expected, actual, strict=True)
    )


def _same_interface(before: onnx.ModelProto, after: onnx.ModelProto) -> bool:
    inputs = [value.name for value in before.graph.input]
    opset = {entry.domain: entry.version for entry in before.opset_import}
    return (
        inputs == [value.name for value in after.graph.input]
        and {entry.domain: entry.version for entry in after.opset_import} == opset
    )


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
