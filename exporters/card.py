"""What a person wants to know of a model, and no graph can tell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelCard:
    """The name tag of a model; it goes into the manifest and into the ONNX file.

    Attributes:
        model_name: Such as "yolov8n".
        family: Such as "yolo".
        licence: Of the weights, and so of the artifact: an SPDX name.
        names: The names of the classes; a label is an index into them.
        stride: Both sides of the input are multiples of it, in pixels.
        decoder: Which numpy decoder reads the raw output.
        display_score: Detections below it are not worth showing to a person.
    """

    model_name: str
    family: str
    licence: str
    names: tuple[str, ...]
    stride: int
    decoder: str = "yolo"
    display_score: float = 0.25
