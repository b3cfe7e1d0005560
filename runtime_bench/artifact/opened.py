"""Open an artifact, or any ONNX file: what it is, and a session that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime_bench.artifact.decode import find_decoder
from runtime_bench.artifact.foreign import manifest_of_notes
from runtime_bench.artifact.manifest import (
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    model_path,
    read_manifest,
)
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.runtime.feeds import Shapes, feed_shapes
from runtime_bench.runtime.runnable import Runnable
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings


@dataclass(frozen=True)
class Opened:
    """A model that is ready to run.

    Attributes:
        model: Its ONNX file.
        session: Runs it.
        shapes: Of its inputs, by name.
        known: What it is: an artifact's manifest, or what an Ultralytics export notes; None for
            a file that says nothing of itself, which can be timed and no more.
    """

    model: Path
    session: Runnable
    shapes: Mapping[str, tuple[int, ...]]
    known: Manifest | None

    @property
    def stored_pictures(self) -> list[Path]:
        """The pictures that came with it."""
        names = () if self.known is None else self.known.pictures
        return [self.model.parent / name for name in names]

    @property
    def manifest(self) -> Manifest:
        """What it is.

        Raises:
            EdgeError: If nothing tells.
        """
        if self.known is None:
            raise EdgeError(
                f"'{self.model}' has no {MANIFEST_FILE} and no notes of Ultralytics that say "
                "what its outputs mean: it can be timed, without pictures, and no more"
            )
        return self.known


def open_artifact(
    artifact: Path, settings: SessionSettings | None = None, *, shapes: Shapes | None = None
) -> Opened:
    """Open an artifact, after its files were checked against its manifest; or an ONNX file.

    Args:
        artifact: Its folder, its `model.onnx`, or its `manifest.json`; or another ONNX file.
        settings: How onnxruntime is to run.
        shapes: Of inputs whose sides are not fixed, by name, or by "" for the only one.

    Raises:
        EdgeError: If the artifact is missing, damaged, or does not fit its manifest.
        UsageError: If a setting has a value that cannot be, or a side is not known.
    """
    settings = settings or SessionSettings()
    if _is_foreign(artifact):
        return _open_foreign(artifact, settings, shapes or {})
    manifest = read_manifest(artifact)
    if shapes:
        raise UsageError(f"the manifest of '{artifact}' fixes its input; leave --shape out")
    model = model_path(artifact)
    session = open_session(model, settings)
    check_session(session, manifest)
    return Opened(model, session, _shapes_of(manifest), manifest)


def _is_foreign(artifact: Path) -> bool:
    if artifact.suffix != ".onnx" or not artifact.is_file():
        return False
    return artifact.name != MODEL_FILE or not (artifact.parent / MANIFEST_FILE).exists()


def _open_foreign(model: Path, settings: SessionSettings, shapes: Shapes) -> Opened:
    session = open_session(model, settings)
    given = feed_shapes(session.inputs, shapes) if shapes else {}
    noted = manifest_of_notes(model, session, shape=next(iter(given.values()), None))
    if noted is not None:
        check_session(session, noted)
        return Opened(model, session, _shapes_of(noted), noted)
    return Opened(model, session, given or feed_shapes(session.inputs, shapes), None)


def _shapes_of(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    return {manifest.input.name: (1, 3, *manifest.input.size)}


def check_session(session: Runnable, manifest: Manifest) -> None:
    """Check that a model takes and gives what its manifest says.

    Raises:
        EdgeError: If an input or output differs.
    """
    if len(session.inputs) != 1:
        raise EdgeError(f"the model has {len(session.inputs)} inputs; a detector has one")
    given = session.inputs[0]
    wanted_shape = (1, 3, *manifest.input.size)
    if given.name != manifest.input.name or given.dtype != "tensor(float)":
        raise EdgeError(
            f"the model takes {given.dtype} '{given.name}', but its manifest says "
            f"{manifest.input.dtype} '{manifest.input.name}': export it again"
        )
    fits = len(given.shape) == len(wanted_shape) and all(
        side is None or side == wanted
        for side, wanted in zip(given.shape, wanted_shape, strict=True)
    )
    if not fits:
        raise EdgeError(
            f"the model takes shape {given.shape}, but its manifest says {wanted_shape}: "
            "export it again"
        )
    missing = set(manifest.output.names) - {output.name for output in session.outputs}
    if missing:
        raise EdgeError(
            f"the model lacks output '{min(missing)}' of its manifest: export it again"
        )
    if manifest.output.decoder is not None:
        find_decoder(manifest.output.decoder)
