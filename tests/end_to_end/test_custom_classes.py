"""A detector with classes of its own: their names come with the weights, or from the data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime_bench.artifact.manifest import read_manifest
from tests.cli.commands import LITTLE, TINY_YAML, error_line, run, write_tiny_yaml
from xprune.builtin.scenes import write_scenes
from xprune.models.load import load_detector

CELLS = ("RBC", "WBC", "Platelets")
RANDOM = ("--model", "tiny.yaml", "--weights", "none")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with tiny.yaml, which speaks of 8 classes."""
    write_tiny_yaml(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fruits(place: Path, scenes_file: Path) -> Path:
    """Scenes whose first two classes are called apple and pear, the only ones that occur."""
    shutil.copytree(scenes_file.parent, place / "fruits")
    path = place / "fruits" / "instances.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["category_id"] = 10 + annotation["category_id"] % 2
    content["categories"] = [{"id": 10, "name": "apple"}, {"id": 11, "name": "pear"}]
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def cells(place: Path, data_folder: Path) -> Path:
    """A data.yaml of 12 BCCD pictures with YOLO labels, as a person would have it."""
    content = json.loads((data_folder / "bccd" / "annotations" / "test.json").read_text())
    label_of = {category["id"]: i for i, category in enumerate(content["categories"])}
    for kind in ("images", "labels"):
        (place / "cells" / "val" / kind).mkdir(parents=True)
    for image in content["images"][:12]:
        source = data_folder / "bccd" / "images" / image["file_name"]
        shutil.copy(source, place / "cells" / "val" / "images")
        lines = [
            yolo_line(annotation, image, label_of)
            for annotation in content["annotations"]
            if annotation["image_id"] == image["id"]
        ]
        labels = place / "cells" / "val" / "labels" / Path(image["file_name"]).name
        labels.with_suffix(".txt").write_text("\n".join(lines))
    path = place / "cells" / "data.yaml"
    path.write_text("val: val/images\nnc: 3\nnames: [RBC, WBC, Platelets]\n")
    return path


def yolo_line(annotation: Any, image: Any, label_of: dict[int, int]) -> str:
    """Return class, centre and size in shares of the picture."""
    left, top, width, height = annotation["bbox"]
    right, bottom = min(left + width, image["width"]), min(top + height, image["height"])
    left, top = max(left, 0), max(top, 0)
    shares = (
        (left + right) / 2 / image["width"],
        (top + bottom) / 2 / image["height"],
        (right - left) / image["width"],
        (bottom - top) / image["height"],
    )
    return " ".join(map(str, (label_of[annotation["category_id"]], *shares)))


def scored(place: Path, *options: object) -> Any:
    """Run `attribute` and then `plan`, `prune`, and return the checkpoint's detector."""
    for words in (("attribute", *options, *LITTLE), ("prune",)):
        done = run(*words, "--out", "out")
        assert done.exit_code == 0, done.output
    return load_detector(str(place / "out" / "pruned.safetensors"))


def test_random_weights_take_the_classes_of_the_data(place: Path, fruits: Path) -> None:
    """An architecture for 8 classes becomes one for the two of the data, and that is said."""
    done = run("attribute", *RANDOM, *LITTLE, "--data", fruits, "--out", "a")

    assert done.exit_code == 0, done.output
    assert f"takes the 2 of {fruits}" in done.stderr
    assert scored(place, *RANDOM, "--data", fruits).names == ("apple", "pear")


def test_random_weights_of_a_known_name_do_so_too(place: Path, fruits: Path) -> None:
    """`--model yolov8n --weights none` has 80 classes only until data is given."""
    options = ("--model", "yolov8n", "--weights", "none", "--data", fruits)

    detector = scored(place, *options)

    assert detector.names == ("apple", "pear")
    assert detector.architecture["nc"] == 2


def test_weights_without_names_take_those_of_the_data(place: Path, fruits: Path) -> None:
    """A bare state dict of two classes fits once the data has told how many there are."""
    network = load_detector("tiny.yaml", weights="none", names=("a", "b")).network
    torch.save(network.state_dict(), place / "two.pth")

    detector = scored(place, "--model", "tiny.yaml", "--weights", "two.pth", "--data", fruits)

    assert detector.names == ("apple", "pear")


def test_weights_without_names_that_do_not_fit_the_data(place: Path, fruits: Path) -> None:
    """Eight outputs cannot be named by two classes."""
    network = load_detector("tiny.yaml", weights="none").network
    torch.save(network.state_dict(), place / "eight.pth")
    options = ("--model", "tiny.yaml", "--weights", "eight.pth", "--data", fruits)

    done = run("attribute", *options, *LITTLE, "--out", "out")

    assert "eight.pth does not fit the architecture" in error_line(done)
    assert "class names" in error_line(done)
    assert not (place / "out").exists()


def test_names_of_the_weights_win_and_are_matched(place: Path, fruits: Path) -> None:
    """Pear and apple stay in the order of the weights; the data is turned round to it."""
    save_named(place / "own.pth", ("pear", "worm", "apple"))

    detector = scored(place, "--model", "own.pth", "--data", fruits)

    assert detector.names == ("pear", "worm", "apple")


def test_a_class_that_the_weights_do_not_know(place: Path, fruits: Path) -> None:
    """Names are never made to fit."""
    save_named(place / "own.pth", ("pear", "worm", "plum"))

    done = run("attribute", "--model", "own.pth", "--data", fruits, *LITTLE, "--out", "out")

    assert "class 'apple' in" in error_line(done)
    assert "is not one of the model's, pear, worm, plum" in error_line(done)
    assert not (place / "out").exists()


def test_unlabelled_calibration_pictures_of_a_model_that_finds_nothing(
    place: Path, fruits: Path
) -> None:
    """A random network has no detections of its own; it is scored all the same."""
    own = write_scenes(place / "own", count=4, seed=99).parent / "images"
    options = (*RANDOM, "--data", fruits, "--calibration", own)

    detector = scored(place, *options)

    assert detector.plan
    scores = json.loads((place / "out" / "scores.json").read_text())
    assert scores["targets"] == "own detections"


@pytest.mark.parametrize("kind", ["data.yaml", "COCO JSON"])
def test_blood_cells_from_the_architecture_to_a_drawn_picture(
    kind: str, place: Path, cells: Path, data_folder: Path, brief: None
) -> None:
    """A YAML, a data set of three classes, and two commands: the artifact names the cells."""
    bccd = data_folder / "bccd"
    data = {
        "data.yaml": ("--data", cells),
        "COCO JSON": (
            *("--data", bccd / "annotations" / "test.json"),
            *("--images-dir", bccd / "images"),
        ),
    }[kind]
    picture = next((place / "cells" / "val" / "images").iterdir())

    done = run("prune-export", *RANDOM, *LITTLE, *data, "--out", "out")
    drawn = run("predict", "out/artifact", picture, "--conf", "0.001", "--out", "drawn")

    assert done.exit_code == 0, done.output
    assert "no AP to keep" in done.stdout
    assert read_manifest(place / "out" / "artifact").names == CELLS
    assert drawn.exit_code == 0, drawn.output
    (entry,) = json.loads(drawn.stdout)["pictures"]
    assert {found["name"] for found in entry["detections"]} <= set(CELLS)
    assert Path(entry["drawn"]).is_file()
    report = (place / "out" / "artifact" / "report.html").read_text()
    assert "nothing to keep" in report


def save_named(path: Path, names: tuple[str, ...]) -> None:
    """Save a tiny network with its architecture and names, as a training would."""
    import yaml

    network = load_detector("tiny.yaml", weights="none", names=names).network
    architecture = {**yaml.safe_load(TINY_YAML), "nc": len(names)}
    content = {"architecture": architecture, "names": list(names)}
    torch.save({**content, "state_dict": network.state_dict()}, path)
