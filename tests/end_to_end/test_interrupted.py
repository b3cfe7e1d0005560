"""Stopped between any two writes: what lies there is whole, and the same command completes."""

from __future__ import annotations

import json
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from runtime_bench.artifact.manifest import read_manifest
from tests.cli.commands import TINY, contents, half_written, run


def assert_readable(folder: Path) -> None:
    """Read every file below `folder` that has its final name."""
    for path in folder.rglob("*"):
        if any(".partial-" in part for part in path.parts):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                assert file.keys()
        elif path.name == "model.onnx":
            read_manifest(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Stop the program at its n-th renaming to a final name, as if the power had gone.

    Nothing is cleaned up then: what was half written stays, of a process that is no more.
    """
    replace, rename = Path.replace, Path.rename
    left: list[int | None] = [None]

    def counted(original: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def move(self: Path, target: Path) -> Path:
            if left[0] is not None:
                left[0] -= 1
                if left[0] <= 0:
                    raise KeyboardInterrupt
            return original(self, target)

        return move

    def set_limit(count: int | None) -> None:
        left[0] = count
        for name in ("_remove", "is_alive"):
            monkeypatch.setattr(f"runtime_bench.files.{name}", stand_ins[name, count is None])

    import runtime_bench.files as files

    stand_ins: dict[tuple[str, bool], Any] = {
        ("_remove", True): files._remove,
        ("_remove", False): lambda path: None,
        ("is_alive", True): lambda pid: pid != os.getpid(),
        ("is_alive", False): files.is_alive,
    }
    monkeypatch.setattr(Path, "replace", counted(replace))
    monkeypatch.setattr(Path, "rename", counted(rename))
    return set_limit


@pytest.fixture
def work_done_before(brief: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every stage write what it wrote the first time, without doing the work again."""
    import exporters.bundle as bundle
    from runtime_bench.files import atomic_folder, write_bytes

    kept: dict[str, Any] = {}
    build = bundle.build_artifact

    def build_once(module: Any, *, folder: Path, **rest: Any) -> None:
        if folder.name not in kept:
            build(module, folder=folder, **rest)
            kept[folder.name] = {path.name: path.read_bytes() for path in folder.iterdir()}
            return
        with atomic_folder(folder) as partial:
            for name, content in kept[folder.name].items():
                write_bytes(partial / name, content)

    def once(function: Any, key: Callable[..., str]) -> Any:
        def call(*arguments: Any, **settings: Any) -> Any:
            name = f"{function} {key(*arguments)}"
            if name not in kept:
                kept[name] = function(*arguments, **settings)
            return kept[name]

        return call

    for stage in ("baseline", "export"):
        monkeypatch.setattr(f"xprune.stages.{stage}.build_artifact", build_once)
    for target, key in (
        ("attribute.compute_scores", lambda bench: ""),
        ("prune.prune_detector", lambda *rest: ""),
        ("measure.run_benchmark", lambda artifact: artifact.name),
        ("measure.compare_opened", lambda *rest: ""),
        ("measure._examples", lambda bench: ""),
    ):
        path = f"xprune.stages.{target}"
        monkeypatch.setattr(path, once(pkgutil.resolve_name(path), key))


def test_stopped_at_every_write(
    work: Path,
    work_done_before: None,
    stop_at: Callable[[int | None], None],
    tiny_run: Path,
) -> None:
    """For each write of the run: stop there, look, and go on to the end."""
    before = contents(tiny_run / "out")
    stops = 0
    for count in range(1, 60):
        stop_at(count)
        done = run("prune-export", *TINY, "--out", f"run{count}")
        if done.exit_code == 0:
            break
        stops += 1
        assert done.exit_code == 130, done.output
        assert_readable(work / f"run{count}")
        stop_at(None)
        again = run("prune-export", *TINY, "--out", f"run{count}")
        assert again.exit_code == 0, again.output
        assert_readable(work / f"run{count}")
        assert half_written(work / f"run{count}") == []
        assert contents(work / f"run{count}") == before

    assert stops > 15
