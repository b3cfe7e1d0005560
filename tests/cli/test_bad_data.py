"""Data sets that cannot be used: one line, before any model is scored, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import LITTLE, error_line, run

pytestmark = pytest.mark.needs_torch

JSON = Path("scenes", "instances.json")

# What is said, after the options that ask for it.
Bad = tuple[tuple[str, ...], tuple[str, ...]]


def _missing_file() -> Bad:
    return ("--data", "nope.json"), ("nope.json", "check the path")


def _wrong_extension() -> Bad:
    _write("tiny.txt", "")
    return ("--data", "tiny.txt"), ("tiny.txt", "pass a COCO .json")


def _corrupt_json() -> Bad:
    _write("scenes/bad.json", JSON.read_text()[:-40])
    return ("--data", "scenes/bad.json"), ("scenes/bad.json", "line")


def _json_of_something_else() -> Bad:
    _write("scenes/other.json", "[1, 2]")
    return ("--data", "scenes/other.json"), ("scenes/other.json", "not a COCO JSON")


def _empty_set() -> Bad:
    _write("scenes/none.json", json.dumps({"images": [], "annotations": [], "categories": []}))
    return ("--data", "scenes/none.json"), ("scenes/none.json", "no picture")


def _empty_folder() -> Bad:
    Path("bare").mkdir()
    return ("--data", "bare"), ("bare", "no picture")


def _unlabelled() -> Bad:
    return ("--data", "scenes/images"), ("scenes/images", "give labelled --data")


def _no_box() -> Bad:
    _change(lambda content: content.update(annotations=[]))
    return ("--data", str(JSON)), ("instances.json", "no box is labelled on the 4 test")


def _missing_picture() -> Bad:
    Path("scenes/images/000003.jpg").unlink()
    return ("--data", str(JSON)), ("000003.jpg", "no such picture", "--skip-bad")


def _truncated_picture() -> Bad:
    path = Path("scenes/images/000003.jpg")
    path.write_bytes(path.read_bytes()[:1500])
    return ("--data", str(JSON)), ("000003.jpg", "--skip-bad")


def _picture_of_another_size() -> Bad:
    def shrink(content: Any) -> None:
        image = content["images"][3]
        image.update(width=9, height=9)
        content["annotations"] = [
            entry for entry in content["annotations"] if entry["image_id"] != image["id"]
        ]

    _change(shrink)
    return ("--data", str(JSON)), ("000003.jpg", "9 x 9 px", "--skip-bad")


def _box_outside() -> Bad:
    _change(lambda content: content["annotations"][0].update(bbox=[-50, 0, 20, 20]))
    return ("--data", str(JSON)), ("outside the picture", "annotations[0]", "--skip-bad")


def _unknown_category() -> Bad:
    _change(lambda content: content["annotations"][0].update(category_id=99))
    return ("--data", str(JSON)), ("unknown category", "99", "--skip-bad")


def _class_that_the_model_lacks() -> Bad:
    _change(lambda content: [c.update(name=f"my {c['name']}") for c in content["categories"]])
    return ("--data", str(JSON)), ("'my ", "not one of the model's", "use data with")


def _fewer_pictures_than_asked() -> Bad:
    options = ("--data", str(JSON), "--images", "9")
    return options, ("instances.json has 12 pictures", "13 are needed", "lower --images")


def _fewer_calibration_pictures_than_asked() -> Bad:
    from xprune.builtin.scenes import write_scenes

    write_scenes(Path("others"), count=5, seed=1)
    options = (
        "--data",
        str(JSON),
        "--calibration",
        "others/images",
        "--calibration-images",
        "6",
    )
    return options, ("others/images has 5 pictures", "lower --calibration-images")


def _same_pictures_twice() -> Bad:
    options = ("--data", str(JSON), "--calibration", "scenes/images")
    return options, ("both in --data and in --calibration", "leave --calibration out")


def _no_data_for_a_model() -> Bad:
    return ("--model", "tiny.yaml", "--weights", "none"), ("tiny.yaml needs --data",)


def _yaml_of_key_points() -> Bad:
    _write("data.yaml", "names: [a]\nval: images\nkpt_shape: [17, 3]\n")
    return ("--data", "data.yaml"), ("data.yaml", "key points")


def _yaml_with_another_count() -> Bad:
    _write("data.yaml", "names: [a, b]\nnc: 3\nval: scenes/images\n")
    return ("--data", "data.yaml"), ("data.yaml", "nc is 3", "correct it")


def _yaml_that_leads_nowhere() -> Bad:
    _write("data.yaml", "names: [a]\nval: elsewhere\ndownload: http://example.org\n")
    return ("--data", "data.yaml"), ("data.yaml", "elsewhere", "nothing is downloaded")


def _yaml_that_runs_code() -> Bad:
    _write("data.yaml", "names: !!python/object/apply:os.mknod [made]\nval: scenes/images\n")
    return ("--data", "data.yaml"), ("data.yaml", "not valid YAML")


def _images_dir_that_is_not_there() -> Bad:
    return ("--data", str(JSON), "--images-dir", "nowhere"), ("nowhere", "check --images-dir")


CASES: dict[str, Callable[[], Bad]] = {
    make.__name__.strip("_"): make
    for make in (
        _missing_file,
        _wrong_extension,
        _corrupt_json,
        _json_of_something_else,
        _empty_set,
        _empty_folder,
        _unlabelled,
        _no_box,
        _missing_picture,
        _truncated_picture,
        _picture_of_another_size,
        _box_outside,
        _unknown_category,
        _class_that_the_model_lacks,
        _fewer_pictures_than_asked,
        _fewer_calibration_pictures_than_asked,
        _same_pictures_twice,
        _no_data_for_a_model,
        _yaml_of_key_points,
        _yaml_with_another_count,
        _yaml_that_leads_nowhere,
        _yaml_that_runs_code,
        _images_dir_that_is_not_there,
    )
}


@pytest.mark.parametrize("name", CASES)
def test_bad_data_is_refused_before_anything_is_written(name: str, place: Path) -> None:
    """One line names the file and what to do; the run's folder is not even made."""
    options, says = CASES[name]()

    done = run("prune-export", *LITTLE, *options, "--out", "out")

    message = error_line(done)
    assert [words for words in says if words not in message] == []
    assert not (place / "out").exists()
    assert not (place / "made").exists()


def test_an_impossible_size_is_said_before_a_picture_is_looked_at(place: Path) -> None:
    """The data may take minutes to read; its faults come after those of the options."""
    (place / "scenes" / "images" / "000003.jpg").write_bytes(b"no picture")

    done = run("prune-export", *LITTLE, "--data", JSON, "--imgsz", "100", "--out", "out")

    assert "input size 100x100 is not a multiple of the network's stride" in error_line(done)


def test_a_size_too_small_for_the_loss(place: Path) -> None:
    """A detector that looks at one place cannot be scored; that is known at once."""
    model = ("--model", "tiny.yaml", "--weights", "none", "--imgsz", "8")

    done = run("prune-export", *LITTLE, *model, "--data", JSON, "--out", "out")

    assert "looks at 1 places only" in error_line(done)
    assert not (place / "out").exists()


def test_faulty_data_is_left_out_counted_and_listed(place: Path) -> None:
    """With --skip-bad a broken picture and a box outside are passed over, and said to be."""
    (place / "scenes" / "images" / "000003.jpg").write_bytes(b"no picture")
    _change(lambda content: content["annotations"][0].update(bbox=[-50, 0, 20, 20]))
    model = ("--model", "tiny.yaml", "--weights", "none")
    counts = ("--images", "7", "--calibration-images", "5")

    done = run(
        *("attribute", *LITTLE, *model, *counts, "--data", JSON),
        *("--skip-bad", "--out", "out"),
    )

    assert done.exit_code == 0, done.output
    assert "Left out 2 faulty pictures or boxes" in done.stderr
    data = json.loads((place / "out" / "data.json").read_text())
    assert len(data["skipped"]) == 2
    used = {*data["test"]["pictures"], *data["calibration"]["pictures"]}
    assert len(used) == 11
    assert "000003.jpg" not in used


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _change(change: Callable[[Any], object]) -> None:
    content = json.loads(JSON.read_text())
    change(content)
    JSON.write_text(json.dumps(content))
