"""The device side as it is installed on an ARM machine: the wheel and its own dependencies.

An arm64 Python runs under emulation: times mean nothing, what it does and finds means a lot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import run

TREE = "XPRUNE_ARM_ROOTFS"
SCRIPTS = Path(__file__).parents[1] / "arm"
# What wheels for aarch64 are called; pip takes no tag that it was not told.
PLATFORMS = [f"manylinux{version}_aarch64" for version in ("_2_28", "_2_27", "_2_17", "2014")]
LARGEST_INSTALL_BYTES = 260e6
BRIEF = ("--threads", "1", "--min-runs", "3", "--min-time", "0")

Device = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tree() -> Path:
    """An arm64 system as `tests/arm/make_tree` makes it, that this machine can emulate."""
    named = os.environ.get(TREE)
    if not named:
        pytest.skip(f"{TREE} is not set: `tests/arm/make_tree DIR` makes a tree for it")
    words = [SCRIPTS / "run_in_tree", named, SCRIPTS, "true"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"arm64 cannot be emulated here: {done.stderr.strip()[-200:]}")
    return Path(named)


@pytest.fixture(scope="module")
def installed(
    tree: Path, wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of the device: in `site`, all that `pip install` of the wheel brings along."""
    folder = tmp_path_factory.mktemp("device")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
    pip += ["--python-version", "3.11", "--target", str(folder / "site"), "--no-compile"]
    for name in PLATFORMS:
        pip += ["--platform", name]
    pip += ["-c", str(repository / "constraints.txt"), str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def device(tree: Path, installed: Path) -> Device:
    """Run `xprune-edge WORDS` on the device, which sees its folder as /mnt."""

    def on_device(*words: object) -> subprocess.CompletedProcess[str]:
        command = [SCRIPTS / "run_in_tree", tree, installed, "python3"]
        command += [Path("/mnt/site/bin/xprune-edge"), *words]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False
        )

    return on_device


@pytest.mark.slow
def test_the_commands_of_a_device(device: Device, installed: Path, builtin_run: Path) -> None:
    """They measure, compare, gate and score, in processes of their own as well."""
    for name in ("artifact", "unpruned", "scenes"):
        shutil.copytree(builtin_run / name, installed / name)
    few = ("--data", "/mnt/scenes/test-20/instances.json", "--images", "4")

    said = device("doctor").stdout
    measured = device(
        *("bench", "/mnt/artifact", *few, *BRIEF, "--profile", "--out", "/mnt/result.json"),
        *("--predictions", "/mnt/found.jsonl"),
    )
    compared = device("compare", "/mnt/unpruned", "/mnt/artifact", "--max-time", "4")
    limits = ("--reference", "/mnt/unpruned", "--max-slowdown", "100%", "--max-time", "4")
    passed = device("gate", "/mnt/artifact", *limits, "--max-memory-mb", "2000")
    failed = device("gate", "/mnt/artifact", "--max-size-mb", "0.001")
    scored = device("score", "/mnt/found.jsonl", *few, "--json")

    assert "aarch64" in said
    assert measured.returncode == 0, measured.stderr
    result = json.loads((installed / "result.json").read_text())
    assert result["machine"]["architecture"] == "aarch64"
    assert result["profile"]["nodes"]
    assert result["fresh_start"]["run_bytes"] > 20e6
    assert compared.returncode == 0, compared.stderr
    assert (passed.returncode, failed.returncode) == (0, 3), passed.stderr + failed.stderr
    # What ARM finds is what is found here, but for the last digits.
    same = ("--data", builtin_run / few[1].removeprefix("/mnt/"), "--images", 4)
    here = run("bench", builtin_run / "artifact", *same, *BRIEF, "--json")
    assert here.exit_code == 0, here.output
    ap = json.loads(here.stdout)["accuracy"]["ap"]
    assert result["accuracy"]["ap"] == pytest.approx(ap, abs=0.002)
    assert json.loads(scored.stdout)["ap"] == result["accuracy"]["ap"]


@pytest.mark.slow
def test_it_takes_little_room(installed: Path) -> None:
    """Everything but Python itself."""
    site = installed / "site"
    size_bytes = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())

    assert 50e6 < size_bytes <= LARGEST_INSTALL_BYTES
