"""Hostile files: mutated manifests and models, of which each is refused in one line or works.

    python -m tests.benchmarks.fuzz

Mutations are bytes that are changed, cut out or repeated, and, in manifests, values that are
replaced. A model is opened and run in a child process with little memory, since what a file
asks of onnxruntime may end the process: that is counted apart from errors of ours.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from PIL import Image

from runtime_bench.artifact.input_spec import RESIZES
from runtime_bench.artifact.manifest import file_entry, read_manifest, write_manifest
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.errors import EdgeError
from runtime_bench.progress import track
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.inputs import inputs_of
from tests.reference.tiny_artifact import FOLDER
from tests.reference.tiny_models import write_classifier

WORKED, REFUSED, OURS, PROCESS = "worked", "refused", "error of ours", "process ended"
CHILD_BYTES = 6 << 30
CHILD_S = 600.0
IN_A_CHILD = 50
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    1e308,
    10**40,
    "",
    "x" * 10_000,
    "../../etc/passwd",
    "/etc/passwd",
    "\x00",
    "\ud800",
    [],
    {},
    [[[[[[]]]]]],
)


@click.command()
@click.option("--manifests", default=10_000, show_default=True)
@click.option("--models", default=2_000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--child", type=click.Path(path_type=Path), hidden=True)
def main(manifests: int, models: int, seed: int, child: Path | None) -> None:
    """Print how many worked and how many were refused; leave results/fuzz.json."""
    if child is not None:
        _open_all(child)
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        content = {
            "manifests": fuzz_manifests(Path(folder), manifests, random.Random(seed)),
            "models": fuzz_models(Path(folder), models, random.Random(seed)),
            "seed": seed,
        }
    click.echo(json.dumps(content, indent=2))
    if (manifests, models) == (10_000, 2_000):
        # Imported here: it brings PyTorch along, which no child needs.
        from tests.benchmarks.setting import write_result

        write_result("fuzz", {**content, "command": "python -m tests.benchmarks.fuzz"})
    if any(content[kind]["outcomes"].get(OURS) for kind in ("manifests", "models")):
        raise SystemExit(1)


def fuzz_manifests(folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Read as many mutated manifests, each beside its whole model and pictures."""
    artifacts = _artifacts(folder)
    good = {one: (one / "manifest.json").read_bytes() for one in artifacts}
    before = sorted(folder.rglob("*"))
    told: list[tuple[str, str]] = []
    for number in track(range(count), label="Manifests"):
        artifact = artifacts[number % len(artifacts)]
        mutate = _with_value if chance.random() < 0.5 else mutated
        (artifact / "manifest.json").write_bytes(mutate(good[artifact], chance))
        told.append(outcome_of(lambda one=artifact: read_manifest(one)))  # type: ignore[misc]
    assert sorted(folder.rglob("*")) == before, "something was written"
    return _summary(told)


def _artifacts(folder: Path) -> list[Path]:
    """Write a detector's artifact of the first version, one of today's, a classifier's."""
    first, second = folder / "first", folder / "second"
    for one in (first, second):
        shutil.copytree(FOLDER, one)
    picture = second / "picture_1.jpg"
    Image.new("RGB", (8, 8)).save(picture)
    manifest = read_manifest(second)
    files = {**manifest.files, picture.name: file_entry(picture)}
    fitted = replace(manifest.input, resize="fit", **RESIZES["fit"])
    write_manifest(
        second, replace(manifest, input=fitted, files=files, pictures=(picture.name,))
    )
    return [first, second, write_classifier(folder / "classifier")]


def fuzz_models(folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Open and run as many mutated models, some dozens in each child process."""
    good = (FOLDER / "model.onnx").read_bytes()
    told: list[tuple[str, str]] = []
    for start in track(range(0, count, IN_A_CHILD), label="Models, by 50"):
        batch = folder / f"models-{start}"
        batch.mkdir()
        for number in range(start, min(start + IN_A_CHILD, count)):
            (batch / f"{number:05}.onnx").write_bytes(mutated(good, chance))
        told += _of_children(batch)
        shutil.rmtree(batch)
    return _summary(told)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to eight places changed, cut out, repeated, or cut off."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        place, length = chance.randrange(len(data) + 1), chance.choice((1, 1, 2, 8, 64))
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 3 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif chance.random() < 0.1:
            del data[place:]
    return bytes(data)


def outcome_of(call: Callable[[], object]) -> tuple[str, str]:
    """Return what became of a call, and the kind of error where it is one of ours."""
    try:
        call()
    except EdgeError as error:
        text = str(error)
        return (REFUSED, "") if text and "\n" not in text else (OURS, "no single line")
    except Exception as error:
        return OURS, f"{type(error).__name__}: {error}"[:200]
    return WORKED, ""


def _with_value(content: bytes, chance: random.Random) -> bytes:
    """Return a JSON document with one value, anywhere in it, replaced, renamed or left out."""
    document = json.loads(content)
    places = list(_places(document))
    holder, key = chance.choice(places)
    kind = chance.randrange(4)
    if kind == 0 and isinstance(holder, dict):
        holder[chance.choice(("extra", "../x", "__class__"))] = holder.pop(key)
    elif kind == 1 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    return json.dumps(document).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in list(entries):
        yield value, key
        if isinstance(entry, dict | list):
            yield from _places(entry)


def _of_children(batch: Path) -> list[tuple[str, str]]:
    """Return the outcome of each model; after one that ends the process, another goes on."""
    told: list[tuple[str, str]] = []
    while waiting := sorted(batch.glob("*.onnx")):
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.fuzz", "--child", str(batch)],
            capture_output=True,
            text=True,
            check=False,
            timeout=CHILD_S,
        )
        lines = done.stdout.splitlines()
        told += [tuple(json.loads(line)) for line in lines]
        if done.returncode != 0:
            told.append((PROCESS, f"exit status {done.returncode}"))
        for path in waiting[: len(lines) + (done.returncode != 0)]:
            path.unlink()
    return told


def _open_all(batch: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
    os.environ["OMP_NUM_THREADS"] = "1"
    for path in sorted(batch.glob("*.onnx")):
        sys.stdout.write(json.dumps(outcome_of(lambda path=path: _open(path))) + "\n")  # type: ignore[misc]
        sys.stdout.flush()


def _open(path: Path) -> None:
    opened = open_artifact(path, SessionSettings(threads=1))
    for feed in inputs_of(opened, []):
        opened.session.run(feed)


def _summary(told: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "count": len(told),
        "outcomes": dict(Counter(kind for kind, _ in told)),
        "details": dict(Counter(detail for kind, detail in told if detail).most_common(20)),
    }


if __name__ == "__main__":
    main()
