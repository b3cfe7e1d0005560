"""The gate: what it asks for, what it finds, how it ends, and what it leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from runtime_bench.bench import gate
from runtime_bench.bench.benchmark import run_benchmark
from runtime_bench.bench.gate import Check, run_gate
from runtime_bench.bench.gate_report import junit_of, markdown_of
from runtime_bench.bench.limits import Limits, read_limits
from runtime_bench.bench.result import BenchSettings
from runtime_bench.cli import main
from runtime_bench.data.dataset import Dataset, read_dataset
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import write_json
from runtime_bench.runtime.settings import SessionSettings

SHORT = ("--max-time", "0.2", "--threads", "1")

ONE, TWO = SessionSettings(threads=1), SessionSettings(threads=2)


@pytest.fixture
def artifact(repository: Path) -> Path:
    """A detector that always finds one "square", with the mean of red as its score."""
    return repository / "tests" / "data" / "tiny_artifact"


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """A COCO JSON of two pictures, labelled as the artifact will answer on one of them."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (128, 64), (200, 0, 0)).save(folder / "images" / name)
    content = {
        "images": [
            {"id": index, "file_name": name, "height": 64, "width": 128}
            for index, name in enumerate(("a.png", "b.png"))
        ],
        "annotations": [
            {"id": index, "image_id": index, "category_id": 4, "bbox": box}
            for index, box in enumerate(([16, 8, 32, 32], [90, 8, 20, 20]))
        ],
        "categories": [{"id": 4, "name": "square"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


class Timed:
    """Stands for two models: each run of the second takes `slower` times as long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slower: float) -> None:
        generator = np.random.default_rng(0)
        self.now_s = 0.0

        def arm(takes_s: float) -> Callable[[], None]:
            def run() -> None:
                self.now_s += takes_s * float(np.exp(generator.normal(0, 0.02)))

            return run

        arms = iter((arm(0.003), arm(0.003 * slower)))
        monkeypatch.setattr(gate.Measured, "runner", lambda one, pictures: next(arms))
        real = gate.look_in_turn
        monkeypatch.setattr(
            gate,
            "look_in_turn",
            lambda *given, **options: real(*given, clock=lambda: self.now_s, **options),
        )


@pytest.mark.parametrize(
    ("slower", "outcome"),
    [(0.8, "passed"), (1.0, "passed"), (1.05, "undecided"), (1.10, "regression")],
)
def test_a_slowdown_is_told_from_noise(
    slower: float, outcome: str, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit itself nothing can be decided, however long one looks."""
    Timed(monkeypatch, slower)

    found = run_gate(
        artifact,
        Limits(max_slowdown=0.05),
        reference=artifact,
        session=ONE,
        max_time_s=6.0,
    )

    assert found.outcome == outcome
    check = found.checks[0]
    assert check.interval is not None
    assert check.interval[0] < slower - 1 < check.interval[1]
    assert check.value == pytest.approx(slower - 1, abs=0.02)


def test_latency_has_an_interval_too(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit in milliseconds is held against the median of the candidate."""
    Timed(monkeypatch, 2.0)

    found = run_gate(
        artifact,
        Limits(max_latency_ms=5.0),
        reference=artifact,
        session=ONE,
        max_time_s=6.0,
    )

    assert found.outcome == "regression"
    assert found.checks[0].value == pytest.approx(6.0, rel=0.02)


def test_what_has_no_spread_is_exact(artifact: Path, squares: Path) -> None:
    """AP against pycocotools' own figure, size against the file, memory of a fresh process."""
    dataset = read_dataset(squares)
    size_mb = (artifact / "model.onnx").stat().st_size / 1e6

    found = run_gate(
        artifact,
        Limits(max_ap_drop=0.0, min_ap=0.6, max_size_mb=size_mb, max_memory_mb=1.0),
        reference=artifact,
        dataset=dataset,
        session=ONE,
        max_time_s=1.0,
    )

    outcomes = {check.name: check.outcome for check in found.checks}
    assert outcomes == {
        "max_ap_drop": "passed",
        "min_ap": "regression",
        "max_size_mb": "passed",
        "max_memory_mb": "regression",
    }
    scored = run_benchmark(artifact, dataset=dataset, settings=_brief(), progress=False)
    assert scored.accuracy is not None
    assert found.checks[1].value == scored.accuracy.ap
    assert (found.times_s, found.latency_input) == ((), None)  # no limit speaks of time


def test_a_stored_result_serves_on_a_machine_like_it(
    artifact: Path, squares: Path, tmp_path: Path
) -> None:
    """Times are of the same model; AP comes from the file; another machine is refused."""
    dataset = read_dataset(squares)
    stored = run_benchmark(artifact, dataset=dataset, settings=_brief(), progress=False)

    found = run_gate(
        artifact,
        Limits(max_slowdown=1.0, max_ap_drop=0.001),
        baseline=stored,
        dataset=dataset,
        session=ONE,
        max_time_s=0.5,
    )

    assert found.checks[1].outcome == "passed"
    assert len(found.times_s) == 1
    elsewhere = replace(stored, machine={**stored.machine, "cpu": "Cortex-A76"})
    with pytest.raises(EdgeError, match=r"cpu was Cortex-A76, and is .* give --reference"):
        run_gate(
            artifact,
            Limits(max_slowdown=1.0),
            baseline=elsewhere,
            session=ONE,
            max_time_s=0.1,
        )
    idle = replace(stored, settings=replace(stored.settings, spinning=False))
    with pytest.raises(EdgeError, match="spinning was False, and is True"):
        run_gate(
            artifact,
            Limits(max_slowdown=1.0),
            baseline=idle,
            dataset=dataset,
            session=ONE,
            max_time_s=0.1,
        )
    with pytest.raises(EdgeError, match="threads was 1, and is 2; timed on was pictures"):
        run_gate(
            artifact,
            Limits(max_slowdown=1.0),
            baseline=stored,
            session=SessionSettings(threads=2),
            max_time_s=0.1,
        )


def test_without_data_it_times_the_pictures_that_came_along(
    artifact: Path, with_pictures: Path
) -> None:
    """Those of the reference go first; against a stored result they must be the same ones."""
    stored = run_benchmark(with_pictures, settings=_brief(), progress=False)
    limits = Limits(max_slowdown=9.0)

    beside = run_gate(artifact, limits, reference=with_pictures, session=ONE, max_time_s=0.2)
    against = run_gate(with_pictures, limits, baseline=stored, session=ONE, max_time_s=0.2)

    assert stored.latency_input == "stored pictures"
    assert len(stored.latency_pictures) == 2
    assert beside.latency_input == against.latency_input == "stored pictures"
    others = replace(stored, latency_pictures=("0" * 64,) * 2)
    with pytest.raises(EdgeError, match="its pictures are other ones; make it again"):
        run_gate(with_pictures, limits, baseline=others, session=ONE, max_time_s=0.2)


@pytest.mark.parametrize(
    ("limits", "compared", "labelled", "words"),
    [
        ({}, True, True, "give one, such as --max-slowdown 5%"),
        ({"max_slowdown": 0.05}, False, True, "--max-slowdown compares, but with nothing"),
        ({"max_ap_drop": 0.05}, False, True, "--max-ap-drop compares, but with nothing"),
        ({"max_ap_drop": 0.05}, True, False, "--max-ap-drop needs labelled pictures"),
        ({"min_ap": 0.05}, True, False, "--min-ap needs labelled pictures"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused(
    limits: dict[str, float],
    compared: bool,
    labelled: bool,
    words: str,
    artifact: Path,
    squares: Path,
) -> None:
    """Before anything is timed."""
    dataset: Dataset | None = read_dataset(squares) if labelled else None

    with pytest.raises(UsageError, match=words):
        run_gate(
            artifact,
            Limits(**limits),
            reference=artifact if compared else None,
            dataset=dataset,
            max_time_s=0.1,
        )


def test_the_exit_code_tells_what_it_found(artifact: Path, tmp_path: Path) -> None:
    """0, 3 and 4, as the help says; an undecided one can be turned into either."""
    same = ("--reference", str(artifact))
    unsure = ("--max-slowdown", "0%", *same)  # of a model against itself

    ends = [
        _gate(artifact, "--max-size-mb", "9").exit_code,
        _gate(artifact, "--max-size-mb", "0.000001").exit_code,
        _gate(artifact, "--max-size-mb", "9", "--max-slowdown", "100%", *same).exit_code,
        _gate(artifact, "--max-size-mb", "9", "--min-ap", "0.5").exit_code,
        _gate(artifact).exit_code,
    ]

    assert ends == [0, 3, 0, 2, 2]
    assert _gate(artifact, *unsure).exit_code in (0, 3, 4)
    assert _gate(artifact, *unsure, "--undecided", "fail").exit_code in (0, 3)
    assert _gate(artifact, *unsure, "--undecided", "pass").exit_code in (0, 3)


def test_it_leaves_what_was_asked_for(artifact: Path, tmp_path: Path) -> None:
    """A summary that is there already is added to; JSON has the checks and the machine."""
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    files = ("--out", "gate.json", "--junit", "gate.xml", "--markdown", "summary.md")
    paths = [tmp_path / one if "." in one else one for one in files]

    done = _gate(artifact, "--max-size-mb", "0.000001", *map(str, paths))

    assert done.exit_code == 3
    assert "Gate: regression" in done.output
    content = json.loads((tmp_path / "gate.json").read_text())
    assert (content["format"], content["outcome"]) == ("xprune-edge gate", "regression")
    suite = ElementTree.fromstring((tmp_path / "gate.xml").read_text())
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert summary.read_text().startswith("# Before\n### Gate: regression\n")


def test_a_report_tells_undecided_from_broken(artifact: Path) -> None:
    """In JUnit XML an undecided check is an error, a broken limit a failure."""
    gated = run_gate(artifact, Limits(max_size_mb=9.0), max_time_s=0.1)
    checks = (
        Check("max_slowdown", 0.05, 0.051, (0.02, 0.08), "undecided"),
        Check("min_ap", 0.3, 0.29, None, "regression"),
        Check("max_memory_mb", 100.0, None, None, "undecided"),
    )

    xml = ElementTree.fromstring(junit_of(replace(gated, checks=checks)))
    table = markdown_of(replace(gated, checks=checks))

    assert [[child.tag for child in case] for case in xml] == [
        ["error"],
        ["failure"],
        ["error"],
    ]
    assert "| latency, change | +5.1 % | +2.0 % to +8.0 % | at most +5.0 % |" in table
    assert "| AP | 0.2900 | exact | at least 0.3000 | regression |" in table
    assert "| peak memory | unknown | unknown | at most 100 MB | undecided |" in table


def test_limits_from_a_file_give_way_to_options(artifact: Path, tmp_path: Path) -> None:
    """Both count; where both have one, the command line does."""
    path = tmp_path / "limits.toml"
    path.write_text('max_slowdown = "5%"\nmax_size_mb = 0.000001\nmin_ap = 1\n')

    assert read_limits(path) == Limits(max_slowdown=0.05, max_size_mb=1e-6, min_ap=1.0)
    path.write_text("max_size_mb = 0.000001\n")
    assert _gate(artifact, "--limits", str(path)).exit_code == 3
    assert _gate(artifact, "--limits", str(path), "--max-size-mb", "9").exit_code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_speed = 1", "no limit is called 'max_speed'"),
        ('max_slowdown = "fast"', "write 5% or 0.05"),
        ("max_size_mb = -1", "must be a number from 0 on"),
        ("max_size_mb = nan", "must be a number from 0 on"),
        ('min_ap = "high"', "must be a number from 0 on"),
        ("min_ap = true", "must be a number from 0 on"),
        ("min_ap", "is no TOML"),
        ("#" * 200_000, "more than 100000 bytes"),
    ],
)
def test_a_bad_file_of_limits_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """With the file, what is wrong, and what would be right."""
    path = tmp_path / "limits.toml"
    path.write_text(text)

    with pytest.raises(EdgeError, match=words):
        read_limits(path)


def test_a_damaged_artifact_or_result_is_an_error(artifact: Path, tmp_path: Path) -> None:
    """Not a regression: nothing was measured."""
    changed = tmp_path / "artifact"
    shutil.copytree(artifact, changed)
    with (changed / "model.onnx").open("ab") as file:
        file.write(b"x")
    write_json(tmp_path / "result.json", {"format": "something else"})

    for arguments in (
        ("--reference", str(changed), "--max-slowdown", "5%"),
        ("--baseline", str(tmp_path / "result.json"), "--max-slowdown", "5%"),
        ("--baseline", str(tmp_path / "none.json"), "--max-slowdown", "5%"),
    ):
        done = _gate(artifact, *arguments)
        assert done.exit_code == 1, done.output
        assert done.stderr.startswith("Error: ")


def _gate(artifact: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["gate", str(artifact), *SHORT, *options])


def _brief() -> BenchSettings:
    return BenchSettings(threads=1, warmup_runs=2, min_runs=30, min_time_s=0)
