"""Run a model over pictures, exactly as its manifest says, and score what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime_bench.accuracy.coco import Accuracy, average_precision
from runtime_bench.accuracy.prediction_log import PredictionLog, Predictions
from runtime_bench.accuracy.top_k import ClassAccuracy, top_accuracy
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.detector import read_answer
from runtime_bench.artifact.manifest import Manifest
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.artifact.preprocess import prepare, read_picture
from runtime_bench.data.dataset import Dataset, Picture, match_classes, match_model
from runtime_bench.errors import EdgeError
from runtime_bench.progress import track
from runtime_bench.runtime.settings import SessionSettings

Scored = Accuracy | ClassAccuracy
Run = Callable[[npt.NDArray[np.float32]], Mapping[str, npt.NDArray[np.generic]]]


def evaluate_artifact(
    artifact: Path,
    dataset: Dataset,
    *,
    settings: SessionSettings | None = None,
    progress: bool = True,
) -> Scored:
    """Return the accuracy of an artifact, taken from its own model file.

    Raises:
        EdgeError: If the artifact or a picture cannot be read, or the data has no labels or a
            class that the artifact lacks.
    """
    opened = open_artifact(artifact, settings)
    manifest = opened.manifest
    matched = match_model(dataset, manifest)
    found = detect_all(opened.session.run, manifest, matched.pictures, progress=progress)
    return score(matched, found)


def score(dataset: Dataset, found: Sequence[Detections]) -> Scored:
    """Return how well answers agree with the labels of their pictures, by their task's measure.

    Args:
        dataset: Labelled; its classes are the model's.
        found: One for each picture, in their order.

    Raises:
        EdgeError: If there is nothing to score.
    """
    measure = top_accuracy if dataset.task == "classify" else average_precision
    return measure(dataset.pictures, found, dataset.names)


def main_figure(scored: Scored) -> float:
    """Return what an accuracy comes down to: AP of a detector, top-1 of a classifier."""
    return scored.top1 if isinstance(scored, ClassAccuracy) else scored.ap


def score_predictions(predictions: Predictions, dataset: Dataset) -> Scored:
    """Return the accuracy of predictions that were made elsewhere, on labelled pictures.

    Raises:
        EdgeError: If the data has no labels, a class that the model lacks, or a picture that
            nothing was predicted for.
    """
    matched = match_classes(dataset, predictions.names, task=dataset.task)
    missing = [one.name for one in matched.pictures if one.name not in predictions.found]
    if missing:
        raise EdgeError(
            f"there are no predictions for {len(missing)} of {len(matched.pictures)} pictures, "
            f"'{missing[0]}' first; end the benchmark that makes them, or pass its pictures"
        )
    found = [predictions.found[one.name] for one in matched.pictures]
    return score(matched, found)


def detect_all(
    run: Run,
    manifest: Manifest,
    pictures: Sequence[Picture],
    *,
    log: PredictionLog | None = None,
    progress: bool = True,
) -> list[Detections]:
    """Return what a model finds in each picture, in pixels of the picture.

    Nothing is left out for its low score beyond what the manifest says, so that the average
    precision can be taken from the answer.

    Args:
        run: One inference: (1, 3, height, width) float32 to the outputs by name, such as
            `Session.run`.
        manifest: How pictures go in and what comes out.
        pictures: The files to read; their labels are not looked at.
        log: Keeps what is found; a picture that is in it already is not read again.
        progress: Show how far it is.

    Raises:
        EdgeError: If a picture cannot be read or has not the size that its data set says, or
            the model answers with something that is no number.
    """
    found = []
    for picture in track(pictures, label="Detecting", quiet=not progress):
        if log is not None and picture.name in log.found:
            found.append(log.found[picture.name])
            continue
        pixels = read_picture(picture.path)
        if pixels.shape[:2] != picture.size:
            height, width = pixels.shape[:2]
            raise EdgeError(
                f"{picture.path}: the picture is {width} x {height} px, the data set says "
                f"{picture.size[1]} x {picture.size[0]} px; correct it, or pass --skip-bad"
            )
        found.append(detect(run, manifest, pixels, name=picture.name))
        if log is not None:
            log.add(picture.name, found[-1])
    return found


def detect(
    run: Run, manifest: Manifest, pixels: npt.NDArray[np.uint8], *, name: str = "a picture"
) -> Detections:
    """Return what a model finds in one picture, (H, W, 3) uint8 RGB, in its pixels.

    Raises:
        EdgeError: If the model answers with something that is no number.
    """
    image, placement = prepare(pixels, manifest.input)
    found = read_answer(run(image[None]), manifest)
    if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
        raise EdgeError(
            f"the model answers with values that are no numbers for {name}; it is broken: "
            "make it again, or undo its last change"
        )
    return Detections(placement.to_picture(found.boxes), found.scores, found.labels)
