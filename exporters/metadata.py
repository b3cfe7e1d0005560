"""The notes inside the ONNX file, under the keys that Ultralytics' own tools read.

No date is among them: the same model gives the same bytes.
"""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import onnx

from exporters.card import ModelCard

_DOCS = "https://docs.ultralytics.com"
_KIND = {"detect": "object detector", "classify": "image classifier"}


def write_metadata(
    model: onnx.ModelProto, card: ModelCard, *, size: tuple[int, int], raw: bool
) -> None:
    """Set the metadata of `model`, in place; earlier metadata goes.

    Args:
        model: The finished graph.
        card: What the model is.
        size: Height and width of the input in pixels.
        raw: Whether the output is that of the head. With NMS inside, the file also says so.
    """
    properties = {
        "description": f"{card.model_name} {_KIND[card.task]}",
        "author": "xprune-edge",
        "version": package_version("xprune-edge"),
        "license": card.licence,
        "stride": str(card.stride),
        "task": card.task,
        "batch": "1",
        "imgsz": str(list(size)),
        "names": str(dict(enumerate(card.names))),
        "channels": "3",
        "args": str(
            {
                "batch": 1,
                "dynamic": False,
                "half": False,
                "nms": not raw and card.task == "detect",
            }
        ),
        "end2end": "False",
    }
    if card.family == "yolo":
        properties["docs"] = _DOCS
    if card.task == "classify":  # Ultralytics has no note for it
        properties["preprocessing"] = str(asdict(card.preprocessing))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)


def package_version(name: str) -> str:
    """Return the installed version, or "unknown" for a checkout that is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
