"""Score artifacts on the same test pictures, with intervals over pictures, paired."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime_bench.accuracy.ap_interval import (
    Matches,
    average_precisions,
    draw_pictures,
    interval_of,
    match_pictures,
)
from runtime_bench.accuracy.predictions import detect_all
from runtime_bench.artifact.manifest import MODEL_FILE, read_manifest
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.data.dataset import Dataset, match_model
from runtime_bench.files import write_bytes
from runtime_bench.runtime.settings import SessionSettings

MATCHES_FOLDER = "matches"
DRAWS = 2000

Values = npt.NDArray[np.float64]
Weights = npt.NDArray[np.int64]
Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Hits:
    """Which pictures a classifier names rightly, (P,) in [0, 1]."""

    hits: npt.NDArray[np.float64]


class Scorer:
    """Scores artifacts on one data set; what was scored once is read from the folder.

    Attributes:
        test: The labelled pictures.
    """

    def __init__(
        self, folder: Path, test: Dataset, session: SessionSettings, *, seed: int
    ) -> None:
        self.test = test
        self._folder, self._session, self._seed = folder, session, seed
        self._known: dict[str, tuple[float, Values]] = {}

    def accuracy(self, artifact: Path) -> float:
        """Return an artifact's AP, or its top-1 accuracy."""
        return self._scored(artifact)[0]

    def interval(self, artifact: Path) -> Interval:
        """Return the 95 % interval of an artifact's accuracy over pictures."""
        accuracy, values = self._scored(artifact)
        return interval_of(values, centre=accuracy)

    def difference(self, first: Path, second: Path) -> tuple[float, Interval]:
        """Return by how much the first one's is higher, and the interval of that, paired."""
        a, b = self._scored(first), self._scored(second)
        difference = a[0] - b[0]
        return difference, interval_of(a[1] - b[1], centre=difference)

    def ratio(self, first: Path, second: Path) -> tuple[float | None, Interval | None]:
        """Return the first one's over the second one's, and the interval of that, paired."""
        a, b = self._scored(first), self._scored(second)
        if b[0] <= 0 or (b[1] <= 0).any():
            return None, None
        ratio = a[0] / b[0]
        return ratio, interval_of(a[1] / b[1], centre=ratio)

    @cached_property
    def _weights(self) -> npt.NDArray[np.int64]:
        return draw_pictures(len(self.test.pictures), draws=DRAWS, seed=self._seed)

    @cached_property
    def _digest(self) -> str:
        facts = [
            (picture.name, picture.boxes.tolist(), picture.labels.tolist())
            for picture in self.test.pictures
        ]
        return hashlib.sha256(repr(facts).encode("utf-8", "backslashreplace")).hexdigest()[:12]

    def _scored(self, artifact: Path) -> tuple[float, Values]:
        digest = read_manifest(artifact).files[MODEL_FILE].sha256
        if digest not in self._known:
            matches = self._matches(artifact, digest)
            whole = np.ones((1, len(self.test.pictures)), np.int64)
            accuracy = float(accuracies(matches, whole)[0])
            self._known[digest] = (accuracy, accuracies(matches, self._weights))
        return self._known[digest]

    def _matches(self, artifact: Path, digest: str) -> Matches | Hits:
        path = self._folder / MATCHES_FOLDER / f"{digest[:16]}-{self._digest}.npz"
        known = _read(path) if path.exists() else None
        if known is not None:
            return known
        opened = open_artifact(artifact, self._session)
        matched = match_model(self.test, opened.manifest)
        found = detect_all(opened.session.run, opened.manifest, matched.pictures)
        matches: Matches | Hits
        if matched.task == "classify":
            best = [answer.labels[0] for answer in found]
            wanted = [picture.labels[0] for picture in matched.pictures]
            matches = Hits((np.array(best) == np.array(wanted)).astype(np.float64))
        else:
            matches = match_pictures(matched.pictures, found, opened.manifest.names)
        _write(path, matches)
        return matches


def accuracies(matches: Matches | Hits, weights: Weights) -> Values:
    """Return the accuracy on each of some sets of pictures, (R,).

    Args:
        matches: What was found on the pictures.
        weights: (R, P) how often each picture is in each set.
    """
    if isinstance(matches, Hits):
        shares: Values = (weights @ matches.hits) / weights.sum(1)
        return shares
    return average_precisions(matches, weights)


def _write(path: Path, matches: Matches | Hits) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **asdict(matches))
    write_bytes(path, buffer.getvalue())


def _read(path: Path) -> Matches | Hits | None:
    """Return kept matches; None where the file is damaged, so that they are made anew."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
            return Hits(**arrays) if "hits" in arrays else Matches(**arrays)
    except (EOFError, OSError, TypeError, ValueError, zipfile.BadZipFile):
        return None
