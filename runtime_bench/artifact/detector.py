"""An artifact as a function: a picture in, detections in its pixels out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from runtime_bench.artifact.decode import find_decoder
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.artifact.preprocess import prepare, read_picture, rgb_pixels
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.runtime.settings import SessionSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime_bench.artifact.manifest import Manifest, OutputSpec
    from runtime_bench.runtime.runnable import Runnable


@dataclass(frozen=True)
class Detector:
    """A loaded artifact; call it with a picture.

    Attributes:
        session: The loaded model.
        manifest: What the artifact says about itself.
        min_score: Detections below it are left out.
    """

    session: Runnable
    manifest: Manifest
    min_score: float

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes; a label is an index into them."""
        return self.manifest.names

    def __call__(self, picture: Path | str | Image.Image | npt.NDArray[np.uint8]) -> Detections:
        """Find the objects in a picture.

        Args:
            picture: A file, a Pillow image, or (H, W, 3) uint8, red, green, blue.

        Returns:
            Detections in pixels of the picture, best score first.

        Raises:
            EdgeError: If the picture cannot be read, or the model's answer is not what the
                manifest says.
        """
        image, placement = prepare(_pixels(picture), self.manifest.input)
        outputs = self.session.run(image[None])
        found = read_answer(outputs, self.manifest).above(self.min_score)
        return Detections(placement.to_picture(found.boxes), found.scores, found.labels)


def load(
    artifact: Path | str, *, threads: int | None = None, min_score: float | None = None
) -> Detector:
    """Open an artifact, after its files were checked against its manifest.

    Args:
        artifact: Its folder, its `model.onnx`, or its `manifest.json`.
        threads: Threads inside one operation; None for all that this process may use.
        min_score: Leave out detections below it; None for what the manifest advises for
            showing, 0 for all that the model answers with.

    Raises:
        EdgeError: If the artifact is missing, damaged, or does not fit its manifest.
        UsageError: If `min_score` is not from 0 to 1, or `threads` below 1.
    """
    if min_score is not None and not 0.0 <= min_score <= 1.0:
        raise UsageError(f"min_score is {min_score}; it must be from 0 to 1")
    opened = open_artifact(Path(artifact), SessionSettings(threads=threads))
    shown = opened.manifest.display_score if min_score is None else min_score
    return Detector(opened.session, opened.manifest, shown)


def read_answer(
    outputs: Mapping[str, npt.NDArray[np.generic]], manifest: Manifest
) -> Detections:
    """Return what a model answered: of a detector see `read_outputs`.

    What a classifier answers speaks of all that it sees: its best classes, each with a box that
    is the whole input.

    Raises:
        EdgeError: If an output has another shape than the manifest promises.
    """
    spec = manifest.output
    if spec.kind == "scores":
        return _best_classes(outputs[spec.names[0]], manifest)
    return read_outputs(outputs, spec)


def read_outputs(
    outputs: Mapping[str, npt.NDArray[np.generic]], spec: OutputSpec
) -> Detections:
    """Return what a detector answered, in pixels of its input.

    Args:
        outputs: The outputs by name, as `Runnable.run` gives them.
        spec: What they mean.

    Raises:
        EdgeError: If an output has another shape than the manifest promises.
    """
    if spec.decoder is not None:
        decode = find_decoder(spec.decoder)
        raw = np.asarray(outputs[spec.names[0]], np.float32)
        if raw.ndim != 3 or raw.shape[0] != 1:
            raise EdgeError(f"the raw output has shape {raw.shape}, not (1, values, anchors)")
        return decode(
            raw[0],
            min_score=spec.min_score,
            iou=spec.iou,
            max_boxes=spec.max_boxes,
            multi_label=spec.multi_label,
        )
    boxes, scores, labels = (np.asarray(outputs[name]) for name in spec.names)
    count = len(scores)
    if boxes.shape != (count, 4) or scores.shape != (count,) or labels.shape != (count,):
        shapes = f"{boxes.shape}, {scores.shape}, {labels.shape}"
        raise EdgeError(f"the outputs have shapes {shapes}, not (N, 4), (N,), (N,)")
    return Detections(
        boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64)
    )


def _best_classes(scores: npt.NDArray[np.generic], manifest: Manifest) -> Detections:
    """Return the classes with the best scores, the best first."""
    classes = len(manifest.names)
    if scores.shape != (1, classes):
        raise EdgeError(f"the scores have shape {scores.shape}, not (1, {classes})")
    values = np.asarray(scores[0], np.float32)
    if ((values < 0) | (values > 1)).any():
        raise EdgeError("the scores are not all from 0 to 1; export it with its softmax")
    best = np.argsort(-values, kind="stable")[: manifest.output.max_boxes]
    height, width = manifest.input.size
    boxes = np.tile(np.array([0, 0, width, height], np.float32), (len(best), 1))
    return Detections(boxes, values[best], best)


def _pixels(
    picture: Path | str | Image.Image | npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    if isinstance(picture, str | Path):
        return read_picture(Path(picture))
    if isinstance(picture, Image.Image):
        return rgb_pixels(ImageOps.exif_transpose(picture))
    if (
        picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] != 3
        or not picture.size
    ):
        raise EdgeError(
            f"the picture is {picture.dtype} {picture.shape}, not uint8 (height, width, 3)"
        )
    return picture
