"""Turn a PyTorch network into one ONNX graph whose nodes are named after its layers.

PyTorch's current exporter (`dynamo=True`) at opset 18, static shapes, weights inside
the file. Opset 17 would give an invalid YOLOv8 graph without an error, and from opset
19 on onnxruntime has no CUDA kernel for Resize.
"""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch
from torch import nn

from exporters.batch_norm import fold_batch_norm
from exporters.heads.regions_onnx import TRANSLATIONS
from exporters.naming import name_after_modules
from exporters.strip import strip_origin
from runtime_bench.errors import EdgeError

OPSET = 18
IR_VERSION = 10  # the newest that onnxruntime 1.18 and later reads
EXPORTER = "torch.onnx (dynamo)"


def export_raw(
    module: nn.Module,
    *,
    size: tuple[int, int],
    input_name: str = "images",
    output_name: str = "output0",
    network_attribute: str = "network",
) -> onnx.ModelProto:
    """Export `module`, which maps pictures to one raw output, for a batch of one.

    Works on a copy: `module` keeps its mode, its weights and its caches. Every node is
    called "<module path>/<operator>", and so is what it computes, with the paths of
    `named_modules()`; batch norms are folded into the convolutions before them.

    Args:
        module: Maps (1, 3, height, width) float32 to (1, 4 + classes, anchors), or to scores
            (1, classes).
        size: Height and width of the input in pixels.
        input_name: What the graph calls its input.
        output_name: What the graph calls its output.
        network_attribute: Where a wrapper keeps the network that it wraps; this part of a
            path is dropped, so that names are those of the network itself.

    Raises:
        EdgeError: If the exporter cannot trace the module, or the graph is not valid, or
            its output is not what the module returns.
    """
    images = torch.zeros(1, 3, *size)
    traced = copy.deepcopy(module).eval().requires_grad_(False)
    with torch.no_grad():
        # A real call first: a head that caches its anchors would otherwise cache the
        # exporter's fake tensors, and a second export of the same module would fail.
        expected = traced(images)
        if not isinstance(expected, torch.Tensor):
            raise EdgeError(
                f"{type(module).__name__} returns {type(expected).__name__}, not one tensor; "
                "wrap it so that it returns the decoded (1, 4 + classes, anchors) tensor, or a "
                "classifier's scores (1, classes)"
            )
        traced = fold_batch_norm(traced, images)
        model = _trace(traced, images, input_name=input_name, output_name=output_name)

    name_after_modules(model, traced, network_attribute=network_attribute)
    proto = strip_origin(ir.to_proto(model))
    proto.ir_version = min(proto.ir_version, IR_VERSION)
    _check(proto, output_shape=tuple(expected.shape))
    return proto


def _trace(
    module: nn.Module, images: torch.Tensor, *, input_name: str, output_name: str
) -> ir.Model:
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                optimize=True,
                verbose=False,
                input_names=[input_name],
                output_names=[output_name],
                custom_translation_table=TRANSLATIONS,
            )
    except (torch.onnx.OnnxExporterError, ir.passes.PassError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise EdgeError(
            f"cannot export {type(module).__name__} to ONNX: {reason}; "
            "the network may branch on the values of a tensor"
        ) from error
    assert program is not None
    # Through bytes, so that no tensor of the graph shares memory with the module.
    return ir.from_proto(program.model_proto)


def _check(proto: onnx.ModelProto, *, output_shape: tuple[int, ...]) -> None:
    """Raise an EdgeError unless the graph is valid and gives one static output."""
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EdgeError(f"the exported graph is not valid ONNX: {reason}") from error
    shapes = [
        tuple(axis.dim_value for axis in output.type.tensor_type.shape.dim)
        for output in proto.graph.output
    ]
    if shapes != [output_shape]:
        raise EdgeError(
            f"the exported graph returns shapes {shapes}, the network {output_shape}; "
            "its shapes must not depend on the picture"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns about its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
