"""From a run to the graphs, to times of another machine, and back to a plan for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import TINY, error_line, half_written, run, write_tiny_yaml
from tests.cli.shortcuts import export_once

pytestmark = pytest.mark.needs_torch
AMOUNT = ("--speedup", "1.1")
ARM = "XPRUNE_ARM_ROOTFS"


LITTLE = ("--imgsz", "64", "--images", "4", "--calibration-images", "4", "--threads", "1")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny network, its layers scored, the graphs, and the times of them."""
    folder = tmp_path_factory.mktemp("other-machine")
    write_tiny_yaml(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        export_once(patch)
        for words in (
            ("attribute", *TINY[:6], *LITTLE, "--out", "out"),
            ("latency-table", "out", "--out", "graphs"),
            ("time", "graphs", "--out", "pi5.json", "--runs", "5", "--threads", "1"),
        ):
            done = run(*words)
            assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def begun(
    made_once: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of it, to work in."""
    shutil.copytree(made_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def timed(begun: Path) -> Path:
    """The times, said to be another machine's."""
    path = begun / "pi5.json"
    document = json.loads(path.read_text())
    document["machine"].update(device="Raspberry Pi 5", cpu="Cortex-A76")
    path.write_text(json.dumps(document))
    return path


def plan_of(place: Path) -> Any:
    """What plan.json holds."""
    return json.loads((place / "out" / "plan.json").read_text())


def test_a_plan_is_chosen_for_the_other_machine(timed: Path) -> None:
    """It promises what was asked there, says so, and claims no measurement."""
    done = run("plan", "--out", "out", *AMOUNT, "--latency-table", "pi5.json")

    assert done.exit_code == 0, done.output
    plan = plan_of(timed.parent)
    assert plan["predicted_speedup"] >= 1.1
    assert plan["measured_speedup"] is None
    assert plan["machine"] == "Raspberry Pi 5, 1 thread"
    assert plan["choices"]
    assert "another machine (Raspberry Pi 5, 1 thread)" in done.stderr
    assert "was not timed" in done.stderr


def test_the_summary_keeps_both_machines_apart(timed: Path) -> None:
    """What was measured here is not said to be the device's."""
    done = run("plan", "--out", "out", *AMOUNT, "--latency-table", "pi5.json")
    assert done.exit_code == 0, done.output
    whole = run("prune-export", "--out", "out", *AMOUNT, "--latency-table", "pi5.json")

    assert whole.exit_code == 0, whole.output
    summary = json.loads((timed.parent / "out" / "summary.json").read_text())
    assert summary["planned_for"] == {
        "name": "Raspberry Pi 5, 1 thread",
        "predicted_speedup": plan_of(timed.parent)["predicted_speedup"],
    }
    said = " ".join(whole.output.split())
    assert "That is on this machine. The plan was made for Raspberry Pi 5, 1 thread" in said


DIFFERENT = {
    "other weights": (lambda d: d["model"].update(weights_sha256="0" * 64), "other weights"),
    "another size": (lambda d: d["model"].update(imgsz=[96, 96]), "timed at 96x96"),
    "no substitutes": (lambda d: d.update(graphs=d["graphs"][:1]), "the timings lack"),
    "another file": (lambda d: d.update(format="other"), "format"),
}


@pytest.mark.parametrize(("damage", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_times_of_something_else_are_refused(timed: Path, damage: Any, words: str) -> None:
    """In one line; nothing is planned."""
    document = json.loads(timed.read_text())
    damage(document)
    timed.write_text(json.dumps(document))

    done = run("plan", "--out", "out", *AMOUNT, "--latency-table", "pi5.json")

    assert words in error_line(done)
    assert not (timed.parent / "out" / "plan.json").exists()


def test_a_count_of_layers_needs_no_table(timed: Path) -> None:
    """It is wrong usage to give both."""
    done = run("plan", "--out", "out", "--layers", "1", "--latency-table", "pi5.json")

    assert done.exit_code == 2
    assert "latency_table serves speedup" in error_line(done)


def test_a_model_alone_is_made_and_timed_at_once(place: Path) -> None:
    """With --timings, the file comes from this machine; nothing half written stays."""
    options = ("--weights", "none", "--imgsz", "64", "--threads", "1")
    done = run(
        "latency-table", "tiny.yaml", *options, "--out", "graphs", "--timings", "here.json"
    )

    assert done.exit_code == 0, done.output
    roles = [graph["role"] for graph in json.loads(Path("here.json").read_text())["graphs"]]
    assert roles[0] == "network"
    assert roles[-1] == "shipped"
    assert set(roles[1:-1]) == {"substitutes"}
    assert half_written(place) == []


def test_what_holds_no_network_is_refused(place: Path) -> None:
    """An artifact alone, a folder, a file that is not there."""
    for source in ("artifact", "scenes", "nothing.pt"):
        done = run("latency-table", source, "--out", "graphs")

        assert source in error_line(done)
        assert not (place / "graphs").exists()


@pytest.mark.slow
def test_an_emulated_arm_device_times_the_graphs(begun: Path, repository: Path) -> None:
    """`runtime_bench` alone, in an arm64 Python without torch and onnx; a plan uses its times.

    The variable names an arm64 tree with Python 3 and, in opt/site, the device side's packages.
    """
    rootfs, qemu = os.environ.get(ARM), shutil.which("qemu-aarch64-static")
    if not rootfs or not qemu:
        pytest.skip(f"{ARM} names no arm64 tree, or qemu-aarch64-static is not installed")
    python = next((Path(rootfs) / "usr/bin").glob("python3.?*"))
    words = [qemu, "-cpu", "cortex-a72", "-L", rootfs, str(python), "-m", "runtime_bench"]
    words += ["time", "graphs", "--out", "arm.json", "--threads", "1", "--runs", "5"]
    paths = f"{rootfs}/opt/site:{repository}"
    done = subprocess.run(
        words,
        env={"PYTHONPATH": paths, "PATH": "/usr/bin", "HOME": str(begun)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    planned = run("plan", "--out", "out", *AMOUNT, "--latency-table", "arm.json")

    assert planned.exit_code == 0, planned.output
    times = json.loads(Path("arm.json").read_text())
    assert times["machine"]["architecture"] == "aarch64"
    assert "aarch64" in plan_of(begun)["machine"]
    assert plan_of(begun)["predicted_speedup"] >= 1.1
