"""Options that several of the device's commands have."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime_bench.errors import UsageError
from runtime_bench.machine.processors import keep_to
from runtime_bench.runtime.providers import CPU, read_options
from runtime_bench.runtime.settings import SessionSettings

if TYPE_CHECKING:
    from runtime_bench.data.dataset import Dataset

AnyPath = click.Path(path_type=Path)

DATA_HELP = (
    "COCO JSON, data.yaml, or a folder of pictures; of whole pictures' classes, a folder for "
    "each, or a CSV."
)

images_dir_option = click.option(
    "--images-dir", type=AnyPath, help="Where the pictures of a COCO JSON lie."
)
split_option = click.option(
    "--split", help="Which part of --data: train, val, test.  [default: val]"
)
images_option = click.option(
    "--images", type=click.IntRange(1), help="Use only the first N pictures."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Threads inside one operation.  [default: all that may be used]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, not a table.")


def session_options(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command `--threads`, `--cpus` and `--provider`, as one argument `session`."""

    @threads_option
    @click.option(
        "--cpus",
        type=processors,
        metavar="LIST",
        help="Run on these processors alone: 0-3 or 4,6.  [default: all that may be used]",
    )
    @click.option(
        "--provider",
        default=CPU,
        show_default=True,
        help="What computes: cpu, cuda, openvino, ... (`doctor` lists them).",
    )
    @click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the provider; may be given again.",
    )
    @functools.wraps(command)
    def with_session(
        *arguments: object,
        threads: int | None,
        cpus: frozenset[int] | None,
        provider: str,
        provider_options: tuple[str, ...],
        **others: object,
    ) -> object:
        if cpus is not None:
            keep_to(cpus)
        session = SessionSettings(
            provider=provider,
            provider_options=tuple(read_options(provider_options).items()),
            threads=threads,
        )
        return command(*arguments, session=session, **others)

    return with_session


def processors(text: str) -> frozenset[int]:
    """Return the numbers of processors from what people write: `0-3` or `4,6`."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise click.BadParameter(f"'{part}' is no processor; write 0-3 or 4,6")
        if len(first) > 4 or len(last) > 4:
            raise click.BadParameter(f"'{part}' is beyond any processor")
        numbers.update(range(int(first), int(last or first) + 1))
    if not numbers:
        raise click.BadParameter(f"'{text}' names no processor")
    return frozenset(numbers)


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the name of an input, or "", and its sides, from `images=1x3x640x640`."""
    name, _, sides = text.rpartition("=")
    if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8}){0,15}", sides):
        raise click.BadParameter(f"'{sides}' is no shape; write 1x3x640x640")
    return name, tuple(int(side) for side in sides.split("x"))


def share(text: str) -> float:
    """Return a share of a whole from what people write: `5%` or `0.05`."""
    from runtime_bench.bench.limits import share as read_share

    try:
        return read_share(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def read_data(
    data: Path | None,
    *,
    images_dir: Path | None,
    split: str | None,
    images: int | None,
    skip_bad: bool,
) -> Dataset | None:
    """Read the pictures that `--data` and what goes with it ask for; None without it."""
    from dataclasses import replace

    from runtime_bench.data.dataset import read_dataset, verify_pictures

    if data is None:
        options = {"--images-dir": images_dir, "--split": split, "--images": images}
        for option, value in options.items():
            if value is not None:
                raise UsageError(f"{option} speaks of pictures, but there are none; add --data")
        return None
    dataset = read_dataset(data, images_dir=images_dir, split=split or "val", skip_bad=skip_bad)
    if images is not None and images > len(dataset.pictures):
        raise UsageError(
            f"--images is {images}, but {data} has {len(dataset.pictures)}; ask for fewer"
        )
    dataset = replace(dataset, pictures=dataset.pictures[:images])
    # Without --skip-bad a bad picture ends the run when its turn comes; no need to look twice.
    return verify_pictures(dataset, skip_bad=True) if skip_bad else dataset
