"""What a person wants to know of a model, and no graph can tell."""

from dataclasses import dataclass, field

from exporters.raw_layout import rows_of
from runtime_bench.artifact.input_spec import RESIZES, InputSpec
from runtime_bench.artifact.manifest import CLASSES_KEPT, Manifest, OutputSpec, Task

RAW_OUTPUT = "output0"
SCORES_OUTPUT = "scores"


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures, whatever the size of its input.

    Attributes:
        resize: As in `InputSpec`.
        mean: Of red, green and blue in [0, 1].
        std: The same.
        crop_share: Of the shorter side of a picture, what a crop shows.
    """

    resize: str = "letterbox"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop_share: float = 1.0

    def at(self, size: tuple[int, int]) -> InputSpec:
        """Return what an input of `size`, height and width in pixels, is made by."""
        cropped = self.resize == "crop"
        return InputSpec(
            size=size,
            mean=self.mean,
            std=self.std,
            resize=self.resize,
            shorter_px=round(max(size) / self.crop_share) if cropped else None,
            **RESIZES[self.resize],
        )


@dataclass(frozen=True)
class ModelCard:
    """The name tag of a model; it goes into the manifest and into the ONNX file.

    Attributes:
        model_name: Such as "yolov8n".
        family: Such as "yolo".
        licence: Of the weights, and so of the artifact: an SPDX name.
        names: The names of the classes; a label is an index into them.
        stride: Both sides of the input are multiples of it, in pixels.
        task: What it tells of a picture.
        preprocessing: How it wants its pictures.
        decoder: Which numpy decoder reads the raw output of a detector.
        nms_iou: The overlap beyond which the lesser of two boxes of a class is left out.
        display_score: Detections below it are not worth showing to a person.
    """

    model_name: str
    family: str
    licence: str
    names: tuple[str, ...]
    stride: int
    task: Task = "detect"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    decoder: str = "yolo"
    nms_iou: float = 0.7
    display_score: float = 0.25

    @property
    def output_name(self) -> str:
        """What a graph calls the output of the network itself."""
        return SCORES_OUTPUT if self.task == "classify" else RAW_OUTPUT

    @property
    def rows(self) -> int:
        """How many values the network gives: of each place, or of a picture as a whole."""
        count = len(self.names)
        return rows_of(self.decoder, count) if self.task == "detect" else count

    def manifest(self, size: tuple[int, int], output: OutputSpec) -> Manifest:
        """Return what is to be said of a model, no file of which is written yet.

        Args:
            size: Height and width of its input in pixels.
            output: What it answers with.
        """
        return Manifest(
            model_name=self.model_name,
            family=self.family,
            licence=self.licence,
            task=self.task,
            names=self.names,
            stride=self.stride,
            input=self.preprocessing.at(size),
            output=output,
            files={},
            display_score=self.display_score,
        )

    def raw_output(self, limits: OutputSpec) -> OutputSpec:
        """Return what the output of the network itself is.

        Args:
            limits: What is to be left out of detections.
        """
        if self.task == "classify":
            return OutputSpec(
                kind="scores",
                names=(self.output_name,),
                min_score=0.0,
                max_boxes=min(CLASSES_KEPT, len(self.names)),
            )
        return OutputSpec(
            kind="raw",
            names=(self.output_name,),
            decoder=self.decoder,
            min_score=limits.min_score,
            iou=limits.iou,
            max_boxes=limits.max_boxes,
        )
