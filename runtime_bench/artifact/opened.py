"""Open an artifact: its manifest, its files checked against it, and a session that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime_bench.artifact.decode import find_decoder
from runtime_bench.artifact.manifest import Manifest, model_path, read_manifest
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import Session, open_session
from runtime_bench.runtime.settings import SessionSettings


@dataclass(frozen=True)
class Opened:
    """An artifact that is ready to run.

    Attributes:
        model: Its ONNX file.
        manifest: What it is.
        session: Runs it.
    """

    model: Path
    manifest: Manifest
    session: Session


def open_artifact(artifact: Path, settings: SessionSettings | None = None) -> Opened:
    """Open an artifact, after its files were checked against its manifest.

    Args:
        artifact: Its folder, its `model.onnx`, or its `manifest.json`.
        settings: How onnxruntime is to run.

    Raises:
        EdgeError: If the artifact is missing, damaged, or does not fit its manifest.
        UsageError: If a setting has a value that cannot be.
    """
    manifest = read_manifest(artifact)
    model = model_path(artifact)
    session = open_session(model, settings or SessionSettings())
    check_session(session, manifest)
    return Opened(model, manifest, session)


def check_session(session: Session, manifest: Manifest) -> None:
    """Check that a model takes and gives what its manifest says.

    Raises:
        EdgeError: If an input or output differs.
    """
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
