"""Does a graph in fewer bits still find what the float graph finds?

It need not be the same to the last digit, but what is plainly seen must stay where it is: else
the calibration went wrong, and nothing is written.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from exporters.probes import Image
from runtime_bench.artifact.detections import Detections, match_detections
from runtime_bench.artifact.detector import read_outputs
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

# Detections that score as much are plainly seen.
SEEN = 0.25
OVERLAP = 0.5
# Of the detections of both, those that have a partner in the other.
LEAST_SHARE = 0.6
# With fewer detections a share says nothing.
LEAST_COMPARED = 10
_WHOLE = np.array([[0, 0, 1, 1]], np.float32)


def check_agreement(
    exact: bytes, lowered: bytes, probes: Mapping[str, Image], *, output: OutputSpec
) -> dict[str, object]:
    """Compare the answers of a graph in fewer bits with those of the float graph.

    Of a classifier they are its best class on each probe, where the float graph is sure of it.

    Args:
        exact: The float graph, proven against PyTorch.
        lowered: The same in int8 or float16.
        probes: Inputs by name.
        output: What both answer with.

    Returns:
        The figures for the manifest.

    Raises:
        EdgeError: If too little of what is plainly seen has a partner, or a value is no number.
    """
    read = _best_class if output.kind == "scores" else _detections
    first, second = (open_session(model, SessionSettings()) for model in (exact, lowered))
    compared = matched = 0
    differences: list[float] = []
    for name, image in probes.items():
        wanted, found = (read(side.run(image), output, probe=name) for side in (first, second))
        pairs = match_detections(wanted, found, min_iou=OVERLAP).pairs
        compared += len(wanted) + len(found)
        matched += 2 * len(pairs)
        gaps = np.abs(wanted.scores[pairs[:, 0]] - found.scores[pairs[:, 1]])
        differences += gaps.tolist()
    share = matched / compared if compared else 1.0
    if compared >= LEAST_COMPARED and share < LEAST_SHARE:
        raise EdgeError(
            f"of what the model finds, only {share:.2f} is found in the lower precision as "
            f"well, less than {LEAST_SHARE}; nothing was written: calibrate on more pictures "
            "like those it is for, or use --precision float32"
        )
    return {
        "probes": len(probes),
        "min_score": SEEN,
        "compared": compared,
        "matched_share": share,
        "mean_score_difference": float(np.mean(differences)) if differences else 0.0,
        "max_score_difference": max(differences, default=0.0),
    }


def _detections(
    answer: Mapping[str, NDArray[np.generic]], output: OutputSpec, *, probe: str
) -> Detections:
    found = read_outputs(answer, output)
    _require_numbers(probe, found.boxes, found.scores)
    return found.above(SEEN)


def _best_class(
    answer: Mapping[str, NDArray[np.generic]], output: OutputSpec, *, probe: str
) -> Detections:
    """Return the best class as one detection of the whole picture, if its score is plain."""
    scores = np.asarray(answer[output.names[0]], np.float32)[0]
    _require_numbers(probe, scores)
    best = scores.argmax(keepdims=True)
    return Detections(_WHOLE, scores[best], best).above(SEEN)


def _require_numbers(probe: str, *values: NDArray[np.float32]) -> None:
    if not all(np.isfinite(one).all() for one in values):
        raise EdgeError(
            f"in the lower precision the model answers with no numbers on probe '{probe}'; "
            "nothing was written: use --precision float32"
        )
