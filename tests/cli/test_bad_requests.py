"""Options, configurations and artifacts that cannot be: one line, at once, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.commands import LITTLE, error_line, run

pytestmark = pytest.mark.needs_torch

# Options of a run, with what the error must say; all are wrong usage, exit code 2.
BAD_OPTIONS = {
    "unknown criterion": (("--criterion", "magic"), ("'magic'", "grad_act", "fisher")),
    "unknown substitute": (("--substitute", "magic"), ("'magic'", "zero, identity, affine")),
    "unknown recovery": (("--recover", "pray"), ("'pray'", "none, refit")),
    "speed-up below 1": (("--speedup", "0.5"), ("speedup is 0.5", "above 1")),
    "speed-up that is no number": (("--speedup", "nan"), ("speedup is nan", "above 1")),
    "latency of nothing": (("--latency-ms", "0"), ("latency_ms is 0.0", "above 0")),
    "no layers": (("--layers", "0"), ("layers is 0", "at least 1")),
    "more than all": (("--fraction", "1.5"), ("fraction is 1.5", "at most 1")),
    "two amounts": (
        ("--speedup", "1.2", "--layers", "2"),
        ("speedup and layers", "give one"),
    ),
    "confidence": (("--conf", "1.5"), ("conf is 1.5", "at most 1")),
    "absurd size": (("--imgsz", "99999"), ("99999", "from 1 to 4096")),
    "size of zero": (("--imgsz", "0x64"), ("(0, 64)", "from 1 to 4096")),
    "size in words": (("--imgsz", "big"), ("big", "256x320")),
    "folder of no JSON": (("--images-dir", "scenes"), ("images_dir", "COCO JSON")),
    "regions of what looks once": (("--regions", "50"), ("--regions", "Faster R-CNN")),
    "not a whole number": (("--images", "many"), ("--images", "not a valid integer")),
    "unknown option": (("--speed", "2"), ("No such option", "--speed")),
    "config that is missing": (("--config", "nope.toml"), ("nope.toml", "check --config")),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_a_bad_option_is_wrong_usage(name: str, place: Path) -> None:
    """Exit code 2, one line that names the option, and no folder."""
    options, says = BAD_OPTIONS[name]

    done = run("prune-export", *options, "--out", "out")

    message = error_line(done)
    assert [words for words in says if words not in message] == []
    assert done.exit_code == 2
    assert not (place / "out").exists()


BAD_CONFIGS = {
    "not TOML": ("speedup == 2", ("c.toml", "not valid TOML", "line 1")),
    "unknown key": ("spedup = 2", ("there is no option 'spedup'",)),
    "all at once": (
        'speedup = 0.5\nspedup = 3\nimgsz = "big"\nmodel = 3\nraw = 1\nimages = 2.5\n'
        'criterion = "magic"\nlayers = 2\n',
        (
            "speedup is 0.5, must be above 1",
            "there is no option 'spedup'",
            "imgsz is 'big', not two sides",
            "model is 3, not a text",
            "raw is 1, not true or false",
            "images is 2.5, not a whole number",
            "criterion is 'magic', not one of",
            "speedup and layers exclude each other",
        ),
    ),
    "out of another kind": ("out = 3", ("c.toml", "out is 3")),
    "not UTF-8": ("model = '\udcff'", ("c.toml", "not valid TOML")),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_bad_config_is_wrong_usage(name: str, place: Path) -> None:
    """All that is wrong with a file is said in one line, and nothing is made."""
    text, says = BAD_CONFIGS[name]
    (place / "c.toml").write_bytes(text.encode("utf-8", "surrogateescape"))

    done = run("prune-export", "--config", "c.toml")

    message = error_line(done)
    assert [words for words in says if words not in message] == []
    assert done.exit_code == 2
    assert not (place / "runs").exists()


def test_an_unknown_criterion_is_said_before_torch_is_loaded(place: Path) -> None:
    """What needs no work is said at once, without the seconds that torch takes."""
    code = (
        "import sys\nfrom xprune.cli import main\n"
        "sys.argv = ['xprune-edge', 'prune-export', '--criterion', 'magic']\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (2, "False")


@pytest.mark.parametrize("stage", ["plan", "prune", "export"])
def test_a_later_stage_needs_a_run(stage: str, place: Path) -> None:
    """Without a run there is nothing to go on from; the message says what begins one."""
    nowhere, elsewhere = run(stage, "--out", "out"), run(stage)

    assert "xprune-edge attribute --out out" in error_line(nowhere)
    assert "--out" in error_line(elsewhere)
    assert elsewhere.exit_code == 2
    assert not (place / "out").exists()


@pytest.mark.parametrize("stage", ["prune-export", "attribute", "plan"])
def test_out_that_holds_something_else_is_left_alone(stage: str, place: Path) -> None:
    """Files of a person are never mixed with a run's."""
    (place / "mine").mkdir()
    (place / "mine" / "letter.txt").write_text("dear")

    done = run(stage, "--out", "mine")

    assert "mine holds files but no run" in error_line(done)
    assert [path.name for path in (place / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("out", ["tiny.yaml", "tiny.yaml/below", "tiny.yaml/far/below"])
def test_out_that_is_a_file_is_left_alone(out: str, place: Path) -> None:
    """A file in the way is named, and not touched."""
    before = (place / "tiny.yaml").read_bytes()

    done = run("prune-export", *LITTLE, "--out", out)

    assert "tiny.yaml is a file" in error_line(done)
    assert (place / "tiny.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "is not a run's configuration"),
        ('{"format": "xprune-edge run", "version": 9}', "has version 9"),
        (
            '{"format": "xprune-edge run", "version": 1, "stage": "plan", '
            '"options": {"conf": "x"}, "files": {}}',
            "conf is 'x', not a number",
        ),
    ],
)
def test_a_damaged_run_file_is_named(content: str, says: str, place: Path) -> None:
    """A `run.json` that cannot be read is an error, and is kept for a look."""
    (place / "out").mkdir()
    (place / "out" / "run.json").write_text(content)

    done = run("prune-export", *LITTLE, "--out", "out")

    assert says in error_line(done)
    assert (place / "out" / "run.json").read_text() == content


def _tamper(artifact: Path) -> None:
    (artifact / "model.onnx").write_bytes((artifact / "model.onnx").read_bytes() + b"\0")


def _swap_byte(artifact: Path) -> None:
    content = bytearray((artifact / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 255
    (artifact / "model.onnx").write_bytes(bytes(content))


def _lead_out(artifact: Path) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    manifest["files"]["../tiny.yaml"] = manifest["files"]["model.onnx"]
    (artifact / "manifest.json").write_text(json.dumps(manifest))


BAD_ARTIFACTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "longer model": (_tamper, "bytes where the manifest says"),
    "changed model": (_swap_byte, "sha256 is not the one in the manifest"),
    "no model": (lambda artifact: (artifact / "model.onnx").unlink(), "is missing"),
    "no manifest": (lambda artifact: (artifact / "manifest.json").unlink(), "no manifest.json"),
    "corrupt manifest": (
        lambda artifact: (artifact / "manifest.json").write_text("{"),
        "not valid JSON",
    ),
    "file outside": (_lead_out, "no plain file name"),
}


@pytest.mark.parametrize("command", ["bench", "predict", "inspect"])
@pytest.mark.parametrize("name", BAD_ARTIFACTS)
def test_a_bad_artifact_is_never_run(name: str, command: str, place: Path) -> None:
    """Every command that takes an artifact checks it first, and says what is wrong with it."""
    spoil, says = BAD_ARTIFACTS[name]
    spoil(place / "artifact")
    pictures = ("scenes/images/000000.jpg",) if command == "predict" else ()

    done = run(command, "artifact", *pictures)

    assert says in error_line(done)
    assert done.stdout == ""
    assert not (place / "predictions").exists()


def test_bench_of_a_folder_that_is_no_artifact(place: Path) -> None:
    """A folder of something else is named."""
    assert "'scenes' has no manifest.json" in error_line(run("bench", "scenes"))


def _text(path: Path) -> None:
    path.write_text("no picture")


def _cut(path: Path) -> None:
    Image.effect_noise((64, 64), 90).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:400])


@pytest.mark.parametrize(
    ("make", "says"), [(_text, "no picture that can be read"), (_cut, "cannot be read")]
)
def test_predict_refuses_what_is_no_picture(
    make: Callable[[Path], None], says: str, place: Path
) -> None:
    """With one bad picture nothing is drawn, also not those before it."""
    make(place / "bad.jpg")

    done = run("predict", "artifact", "scenes/images/000000.jpg", "bad.jpg")

    message = error_line(done)
    assert "bad.jpg" in message
    assert says in message
    assert not (place / "predictions").exists()
