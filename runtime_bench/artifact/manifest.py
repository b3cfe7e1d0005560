"""What an artifact is, for a machine that knows nothing about the network inside it.

The manifest comes from outside, so nothing in it is believed before it was checked.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, cast

from runtime_bench.artifact.input_spec import InputSpec, read_input
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, sha256_of, write_json
from runtime_bench.json_fields import JsonFields

FORMAT = "xprune-edge manifest"
VERSION = 4
# The second brought precisions, the third pictures and crops, the fourth PyTorch's resizing.
_VERSIONS = (1, 2, 3, VERSION)
# The first one is what a model comes in.
PRECISIONS = ("float32", "int8", "float16")
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"

DETECTION_OUTPUTS = ("boxes", "scores", "labels")

Task = Literal["detect", "classify"]
TASKS = ("detect", "classify")
# The best classes of a picture, which top-5 accuracy asks for.
CLASSES_KEPT = 5
KIND_OF_TASK = {"detect": ("detections", "raw"), "classify": ("scores",)}

_SAFE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_MANIFEST_BYTES = 64 << 20
_MAX_FILE_BYTES = 1 << 40
_MAX_NAMES = 100_000
_MAX_BOXES = 100_000
_MAX_PICTURES = 64


@dataclass(frozen=True)
class OutputSpec:
    """What the model answers with.

    Attributes:
        kind: "detections": the outputs are boxes (N, 4), left, top, right, bottom, in pixels of
            the input, scores (N), labels (N). "raw": the output of the head, for `decoder`.
            "scores": of each class, (1, classes), each in [0, 1].
        names: The names of the outputs, in this order.
        decoder: The name of the numpy decoder for a raw output; None with detections.
        min_score: Detections below it are not in the answer.
        iou: The overlap above which non-maximum suppression removed the lesser box.
        max_boxes: The most detections, or classes, of one picture.
        multi_label: Whether one box may be answered with several labels.
    """

    kind: Literal["detections", "raw", "scores"] = "detections"
    names: tuple[str, ...] = DETECTION_OUTPUTS
    decoder: str | None = None
    min_score: float = 0.001
    iou: float = 0.7
    max_boxes: int = 300
    multi_label: bool = True


@dataclass(frozen=True)
class FileEntry:
    """What a file of the artifact must be."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What an artifact is; the file `manifest.json`.

    Attributes:
        names: The names of the classes; a label is an index into them.
        stride: Both sides of the input are multiples of it.
        files: What the other files of the folder must be, by name; `model.onnx` is among them.
        parity: How well the file agrees with the network it was made from.
        provenance: How it was made: data, scores, plan, versions.
        display_score: Detections below it are not worth showing to a person.
        precision: What the file computes in, one of `PRECISIONS`; input and output are float32.
        pictures: Those of `files` that are pictures to time it on, where nobody has others.
    """

    model_name: str
    family: str
    licence: str
    names: tuple[str, ...]
    stride: int
    input: InputSpec
    output: OutputSpec
    files: dict[str, FileEntry]
    task: Task = "detect"
    parity: dict[str, object] = field(default_factory=dict)
    provenance: dict[str, object] = field(default_factory=dict)
    display_score: float = 0.25
    precision: str = PRECISIONS[0]
    pictures: tuple[str, ...] = ()


def read_manifest(artifact: Path) -> Manifest:
    """Read and check the manifest of an artifact, and check its files against it.

    Args:
        artifact: The folder of the artifact, or its `model.onnx`, or its `manifest.json`.

    Raises:
        EdgeError: If the manifest is missing or wrong in any way (the message names the field),
            or if a file is missing or is not the one the manifest describes.
    """
    folder = artifact_folder(artifact)
    path = folder / MANIFEST_FILE
    if path.is_file() and path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise EdgeError(
            f"'{path}' is larger than {_MAX_MANIFEST_BYTES >> 20} MiB: not a manifest"
        )
    manifest = manifest_from_json(read_json(path), source=f"'{path}'")
    verify_files(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into `folder`, after the same checks as on reading.

    Raises:
        EdgeError: If a value is one that `read_manifest` would refuse, if a file differs from
            its entry, or if the manifest cannot be written.
    """
    path = folder / MANIFEST_FILE
    content = manifest_to_json(manifest)
    manifest_from_json(content, source=f"'{path}'")
    verify_files(folder, manifest)
    write_json(path, content)


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check size and SHA-256 of every file that the manifest lists.

    Raises:
        EdgeError: If a file is missing or is not the one the manifest describes.
    """
    for name, entry in manifest.files.items():
        path = folder / name
        # Never open what is not a plain file: reading a named pipe would wait for ever.
        if not path.is_file():
            raise EdgeError(
                f"'{path}' is missing; the manifest lists it: copy the whole artifact"
            )
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            found = f"{size_bytes} bytes where the manifest says {entry.size_bytes}"
            raise EdgeError(f"'{path}' has {found}: copy or export the artifact again")
        if sha256_of(path) != entry.sha256:
            raise EdgeError(
                f"'{path}' was changed: its sha256 is not the one in the manifest; "
                "copy or export the artifact again"
            )


def file_entry(path: Path) -> FileEntry:
    """Return what a manifest must say about the file at `path`."""
    return FileEntry(sha256=sha256_of(path), size_bytes=path.stat().st_size)


def artifact_folder(artifact: Path) -> Path:
    """Return the folder of an artifact that is named by itself, its model, or its manifest.

    Raises:
        EdgeError: If there is no such artifact.
    """
    if not artifact.exists():
        raise EdgeError(
            f"'{artifact}' does not exist; an artifact is a folder with {MANIFEST_FILE}"
        )
    is_file = not artifact.is_dir()
    if is_file and artifact.name not in (MODEL_FILE, MANIFEST_FILE):
        raise EdgeError(
            f"'{artifact}' is no artifact; name its folder, {MODEL_FILE} or {MANIFEST_FILE}"
        )
    folder = artifact.parent if is_file else artifact
    if not (folder / MANIFEST_FILE).is_file():
        raise EdgeError(f"'{folder}' has no {MANIFEST_FILE}; an artifact comes with one")
    return folder


def model_path(artifact: Path) -> Path:
    """Return the ONNX file of an artifact; see `artifact_folder` for what may name it."""
    return artifact_folder(artifact) / MODEL_FILE


def manifest_to_json(manifest: Manifest) -> dict[str, object]:
    """Return the manifest as it stands in the file."""
    # Through lists, so that the value equals what is read back from the file.
    body = cast("dict[str, object]", _as_json(asdict(manifest)))
    return {"format": FORMAT, "version": VERSION, **body}


def manifest_from_json(value: object, *, source: str) -> Manifest:
    """Check the content of a manifest file and return it as a value.

    Args:
        value: What the file holds.
        source: The name of the file, for error messages.

    Raises:
        EdgeError: If anything is missing, unknown, of a wrong type or out of range.
    """
    fields = JsonFields(value, source=source)
    fields.text("format", choices=(FORMAT,))
    version = fields.take("version")
    if type(version) is not int or version not in _VERSIONS:
        raise fields.error(
            "version", f"is {version!r:.40}; this program reads versions 1 to {VERSION}"
        )
    manifest = Manifest(
        model_name=fields.text("model_name"),
        family=fields.text("family"),
        task=cast("Task", fields.text("task", choices=TASKS)),
        licence=fields.text("licence"),
        names=fields.texts("names", most=_MAX_NAMES),
        stride=fields.integer("stride", least=1, most=1024),
        input=read_input(fields.child("input"), version),
        output=_read_output(fields.child("output")),
        files=_read_files(fields),
        parity=fields.mapping("parity"),
        provenance=fields.mapping("provenance"),
        display_score=fields.number("display_score", least=0.0, most=1.0),
        precision="float32" if version < 2 else fields.text("precision", choices=PRECISIONS),
        pictures=() if version < 3 else fields.texts("pictures", least=0, most=_MAX_PICTURES),
    )
    fields.finish()
    if manifest.output.kind not in KIND_OF_TASK[manifest.task]:
        raise fields.error("output.kind", f"is none of task '{manifest.task}'")
    unlisted = set(manifest.pictures) - set(manifest.files)
    if unlisted:
        raise fields.error("pictures", f"has '{min(unlisted)}', which files does not list")
    if any(side % manifest.stride for side in manifest.input.size):
        size = "x".join(str(side) for side in manifest.input.size)
        raise fields.error(
            "input.size", f"{size} is not a multiple of stride {manifest.stride}"
        )
    return manifest


def _read_output(fields: JsonFields) -> OutputSpec:
    kind = fields.text("kind", choices=("detections", "raw", "scores"))
    names = fields.texts("names", most=16)
    wanted = len(DETECTION_OUTPUTS) if kind == "detections" else 1
    if len(names) != wanted or len(set(names)) != wanted:
        raise fields.error("names", f"must be {wanted} different names for kind '{kind}'")
    spec = OutputSpec(
        kind=cast("Literal['detections', 'raw', 'scores']", kind),
        names=names,
        decoder=_read_decoder(fields, kind),
        min_score=fields.number("min_score", least=0.0, most=1.0),
        iou=fields.number("iou", least=0.0, most=1.0),
        max_boxes=fields.integer("max_boxes", least=1, most=_MAX_BOXES),
        multi_label=fields.flag("multi_label"),
    )
    fields.finish()
    return spec


def _read_decoder(fields: JsonFields, kind: str) -> str | None:
    if kind == "raw":
        return fields.text("decoder")
    if fields.take("decoder") is not None:
        raise fields.error("decoder", f"must be null for kind '{kind}'")
    return None


def _read_files(fields: JsonFields) -> dict[str, FileEntry]:
    entries: dict[str, FileEntry] = {}
    for name, entry in fields.children("files").items():
        _check_file_name(entry, name)
        sha256 = entry.text("sha256")
        if not _SHA256.fullmatch(sha256):
            raise entry.error("sha256", "must be 64 hexadecimal digits in lower case")
        size_bytes = entry.integer("size_bytes", least=1, most=_MAX_FILE_BYTES)
        entry.finish()
        entries[name] = FileEntry(sha256, size_bytes)
    if MODEL_FILE not in entries:
        raise fields.error("files", f"does not list {MODEL_FILE}")
    return entries


def _check_file_name(entry: JsonFields, name: str) -> None:
    # Plain names and plain folders only, so that no name can lead out of the artifact.
    parts = name.split("/")
    if len(name) > 400 or not all(_SAFE_PART.fullmatch(part) for part in parts):
        raise entry.error(None, "is no plain file name inside the artifact")
    if name == MANIFEST_FILE:
        raise entry.error(None, "cannot be listed: a manifest does not describe itself")


def _as_json(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(entry) for entry in value]
    return value
