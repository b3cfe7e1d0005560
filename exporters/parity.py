"""Does the artifact say what the PyTorch model says?

Raw tensors are compared number by number. Detections are compared by class and overlap,
never row by row, since equal scores may come in any order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from exporters.detection_parity import DetectionParity, compare_detections
from exporters.probes import Image
from exporters.raw_layout import BOX_ROWS, YOLO, box_rows
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

Raw = NDArray[np.float32]
TOLERANCE = 1e-4  # of the greatest value
# Of what PyTorch's own float32 misses: another order of the same sums misses as much again.
ROUNDING_FACTOR = 4.0


@dataclass(frozen=True)
class TensorParity:
    """How far two tensors are apart.

    Attributes:
        max_difference: The greatest absolute difference; NaN where either has a NaN.
        limit: What it may be.
    """

    max_difference: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the limit; never with a NaN."""
        return self.max_difference <= self.limit


def compare_tensors(
    reference: NDArray[np.float32],
    actual: NDArray[np.float32],
    *,
    tolerance: float = TOLERANCE,
    least_scale: float = 0.0,
) -> TensorParity:
    """Compare max|actual - reference| with `tolerance` x max|reference|.

    Args:
        reference: Any shape.
        actual: The same shape; another one counts as an infinite difference.
        tolerance: Share of the greatest value.
        least_scale: The greatest value is taken to be at least this.
    """
    scale = max(float(np.abs(reference).max(initial=0.0)), least_scale)
    if reference.shape != actual.shape:
        return TensorParity(float("inf"), tolerance * scale)
    difference = np.abs(actual.astype(np.float64) - reference.astype(np.float64))
    return TensorParity(float(difference.max(initial=0.0)), tolerance * scale)


def compare_raw(
    reference: Raw,
    actual: Raw,
    exact: NDArray[np.float64] | None = None,
    *,
    places: int = BOX_ROWS,
) -> dict[str, TensorParity]:
    """Compare boxes and scores apart: in one tensor, pixels would hide what scores do.

    Args:
        reference: (places + …, K): places in pixels, then scores in [0, 1]; or the scores
            (classes,) of a classifier.
        actual: The same.
        exact: The reference computed in float64. Where a network amplifies rounding (a pruned
            one on noise may), PyTorch's own float32 misses it by more than the usual limit, and
            the limit becomes a small multiple of that miss: no file can be asked for more.
        places: How many rows are places, such as the sides of a box; 0 for a classifier.
    """
    parts = {"boxes_px": slice(None, places), "scores": slice(places, None)}
    if not places:
        del parts["boxes_px"]
    compared = {}
    for part, rows in parts.items():
        parity = compare_tensors(reference[rows], actual[rows], least_scale=1.0)
        if exact is not None:
            own_miss = float(np.abs(reference[rows] - exact[rows]).max(initial=0.0))
            parity = replace(parity, limit=max(parity.limit, ROUNDING_FACTOR * own_miss))
        compared[part] = parity
    return compared


def check_parity(
    model: bytes,
    reference: Mapping[str, Raw],
    probes: Mapping[str, Image],
    *,
    output: OutputSpec,
    decoder: str = YOLO,
    exact: Mapping[str, NDArray[np.float64]] | None = None,
) -> dict[str, object]:
    """Run the file through onnxruntime on every probe and compare it with the reference.

    Args:
        model: The bytes of the ONNX file.
        reference: The raw output of the PyTorch model, or its scores, for each probe.
        probes: Inputs by name.
        output: What the file answers with: the raw tensor, scores, or detections.
        decoder: What reads the raw output.
        exact: The reference in float64; see `compare_raw`.

    Returns:
        The figures for the manifest: the worst of all probes.

    Raises:
        EdgeError: If they differ by more than rounding explains; it names the probe.
    """
    session = open_session(model, SessionSettings())
    worst: dict[str, TensorParity] = {}
    detections: list[DetectionParity] = []
    for name, image in probes.items():
        expected = reference[name]
        answer = session.run(image)
        if output.kind != "detections":
            actual = np.asarray(answer[output.names[0]], np.float32)[0]
            for part, parity in compare_raw(
                expected,
                actual,
                exact[name] if exact is not None else None,
                places=box_rows(decoder, len(expected)) if output.kind == "raw" else 0,
            ).items():
                _require(parity, part=part, probe=name)
                worst[part] = max(worst.get(part, parity), parity, key=_share_of_limit)
        else:
            found = Detections(*(np.asarray(answer[key]) for key in output.names))
            detections.append(
                compare_detections(expected, found, decoder=decoder, output=output, probe=name)
            )
    figures: dict[str, object] = {"probes": list(probes)}
    for part, parity in worst.items():
        figures[part] = {"max_difference": parity.max_difference, "limit": parity.limit}
    if detections:
        figures["detections"] = _total(detections)
    return figures


def _require(parity: TensorParity, *, part: str, probe: str) -> None:
    if not parity.holds:
        raise EdgeError(
            f"the ONNX graph differs from the PyTorch model on probe '{probe}': {part} by "
            f"{parity.max_difference:.3g}, more than {parity.limit:.3g}; nothing was written"
        )


def _share_of_limit(parity: TensorParity) -> float:
    return parity.max_difference / parity.limit


def _total(parities: list[DetectionParity]) -> dict[str, object]:
    return {
        "compared": sum(parity.compared for parity in parities),
        "matched": sum(parity.matched for parity in parities),
        "ties": sum(parity.ties for parity in parities),
        "max_box_difference_px": max(parity.max_box_difference_px for parity in parities),
        "max_score_difference": max(parity.max_score_difference for parity in parities),
    }
