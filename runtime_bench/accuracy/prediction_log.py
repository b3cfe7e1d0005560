"""What a detector found, picture by picture, in a file that a power cut leaves readable.

One line of JSON for the model, then one for each picture. A line that was cut off is dropped,
and its picture predicted again; so a benchmark goes on where it was stopped, and its
predictions can be scored on another machine.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from runtime_bench.artifact.detections import Detections
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import write_error
from runtime_bench.json_fields import JsonFields

FORMAT = "xprune-edge predictions log"
VERSION = 1
# Of 300 boxes a line has 20 kB; a detector may answer with many more.
LONGEST_LINE = 64 << 20
MOST_NAMES = 100_000
MOST_BOXES = 100_000
FARTHEST_PX = 1e7
# A card wears out, and waits, with each call that makes sure; so much may be lost.
SYNC_EVERY_S = 5.0


@dataclass
class Predictions:
    """What a file of predictions holds.

    Attributes:
        names: Of the classes; a label is an index into them.
        sha256: Of the model's file.
        source: The data set, as it was named.
        found: By the name of the picture.
        whole_bytes: Up to here the file consists of whole lines.
    """

    names: tuple[str, ...]
    sha256: str
    source: str
    found: dict[str, Detections] = field(default_factory=dict)
    whole_bytes: int = 0


class PredictionLog:
    """A file of predictions that is read first, and then added to; used in a `with`.

    Attributes:
        found: What it holds, by the name of the picture.
    """

    def __init__(self, path: Path, *, names: tuple[str, ...], sha256: str, source: str) -> None:
        """Read what is there, if it is of this model and data, and open the file for more.

        Raises:
            UsageError: If it holds predictions of another model, or of other pictures.
            EdgeError: If it is no such file, or cannot be read or written.
        """
        there = Predictions(names, sha256, source)
        if path.exists():
            there = read_predictions(path)
            if (there.names, there.sha256, there.source) != (names, sha256, source):
                raise UsageError(
                    f"'{path}' holds predictions of another model or of other data; choose "
                    "another file for --predictions, or remove it"
                )
        self.found = there.found
        self._path, self._synced_s = path, 0.0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("r+b" if there.whole_bytes else "wb")
            self._file.truncate(there.whole_bytes)
            self._file.seek(there.whole_bytes)
        except OSError as error:
            raise write_error(path, error) from error
        if not there.whole_bytes:
            model = {"sha256": sha256, "source": source, "names": list(names)}
            self._write({"format": FORMAT, "version": VERSION, **model})

    def add(self, picture: str, found: Detections) -> None:
        """Keep what was found in a picture, whose name is that of the data set."""
        self.found[picture] = found
        self._write(
            {
                "picture": picture,
                "boxes": found.boxes.tolist(),
                "scores": found.scores.tolist(),
                "labels": found.labels.tolist(),
            }
        )

    def __enter__(self) -> PredictionLog:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file, after it has reached the disk."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _write(self, entry: Mapping[str, object]) -> None:
        try:
            self._file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced_s > SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced_s = time.monotonic()
        except OSError as error:
            raise write_error(self._path, error) from error


def read_predictions(path: Path) -> Predictions:
    """Read a file of predictions, perhaps from another machine; all of it is checked.

    Raises:
        EdgeError: If it is missing or is not such a file; a last line that was cut off is left
            out.
    """
    if not path.is_file():
        raise EdgeError(f"'{path}' does not exist; make it with `bench --predictions`")
    predictions: Predictions | None = None
    try:
        with path.open("rb") as file:
            while (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
                fields = _fields(line, f"'{path}'")
                if predictions is None:
                    predictions = _read_head(fields)
                else:
                    picture = fields.any_text("picture")
                    predictions.found[picture] = _read_detections(fields, predictions.names)
                predictions.whole_bytes = file.tell()
            if len(line) >= LONGEST_LINE:
                raise EdgeError(f"'{path}' has a line of over {LONGEST_LINE >> 20} MiB")
    except OSError as error:
        raise EdgeError(f"'{path}' cannot be read: {error.strerror}") from error
    if predictions is None:
        raise EdgeError(f"'{path}' holds no predictions; make it with `bench --predictions`")
    return predictions


def _fields(line: bytes, source: str) -> JsonFields:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise EdgeError(f"{source} is no file of predictions; a line is not JSON") from None
    return JsonFields(value, source=source)


def _read_head(fields: JsonFields) -> Predictions:
    fields.text("format", choices=(FORMAT,))
    fields.integer("version", least=VERSION, most=VERSION)
    head = Predictions(
        names=fields.texts("names", most=MOST_NAMES),
        sha256=fields.text("sha256"),
        source=fields.text("source"),
    )
    fields.finish()
    return head


def _read_detections(fields: JsonFields, names: tuple[str, ...]) -> Detections:
    values = {key: fields.take(key) for key in ("boxes", "scores", "labels")}
    fields.finish()
    try:
        boxes = np.asarray(values["boxes"], np.float32).reshape(-1, 4)
        scores = np.asarray(values["scores"], np.float32).reshape(-1)
        labels = np.asarray(values["labels"], np.int64).reshape(-1)
    except (ValueError, TypeError, OverflowError):
        raise fields.error(None, "has boxes, scores or labels that are no numbers") from None
    if not len(boxes) == len(scores) == len(labels):
        raise fields.error("boxes", "must be as many as scores and as labels")
    found = Detections(boxes, scores, labels)
    if len(found) > MOST_BOXES:
        raise fields.error("boxes", f"must be at most {MOST_BOXES}")
    if not (np.abs(found.boxes) <= FARTHEST_PX).all():
        raise fields.error("boxes", "must be numbers of pixels")
    if not ((found.scores >= 0) & (found.scores <= 1)).all():
        raise fields.error("scores", "must be from 0 to 1")
    if not ((found.labels >= 0) & (found.labels < len(names))).all():
        raise fields.error("labels", f"must be from 0 to {len(names) - 1}")
    return found
