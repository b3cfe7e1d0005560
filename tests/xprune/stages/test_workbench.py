"""What the stages share: made when asked for, and checked before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.artifact.manifest import read_manifest
from runtime_bench.errors import EdgeError
from tests.xprune.stages.conftest import MakeBench
from xprune.stages.baseline import BASELINE_FOLDER, export_baseline


def test_the_check_writes_nothing(make_bench: MakeBench) -> None:
    """A request that is fine leaves no trace either."""
    bench = make_bench()

    bench.check()

    assert not bench.run.path.exists()
    assert len(bench.sets.test.pictures) == 4


def test_the_built_in_scenes_are_not_drawn_for_a_check(make_bench: MakeBench) -> None:
    """They go into the run's folder, which may not be one yet."""
    bench = make_bench(data="builtin")

    bench.check()

    assert not bench.run.path.exists()


def test_another_count_of_scenes_is_drawn_anew(make_bench: MakeBench) -> None:
    """A run that asks for more pictures after an error does not get the old ones."""
    few, more = (make_bench(data="builtin", images=count).sets.test for count in (2, 3))

    assert (len(few.pictures), len(more.pictures)) == (2, 3)
    assert few.source == "builtin"


def test_an_impossible_size_is_found_before_a_picture(make_bench: MakeBench) -> None:
    """The data is not even there."""
    bench = make_bench(model="builtin", weights=None, imgsz=(64, 100), data="nowhere.json")

    with pytest.raises(EdgeError, match="input size 64x100 is not a multiple"):
        bench.check()


def test_test_and_calibration_share_no_picture(make_bench: MakeBench) -> None:
    """Split by the seed: another seed, other pictures."""
    sets, other = make_bench().sets, make_bench(seed=1).sets

    tested = {picture.path for picture in sets.test.pictures}
    assert tested.isdisjoint(picture.path for picture in sets.calibration.pictures)
    assert tested != {picture.path for picture in other.test.pictures}


def test_a_model_that_names_no_classes_takes_those_of_the_data(
    make_bench: MakeBench, scenes_file: Path
) -> None:
    """And says so, since the architecture may speak of another number."""
    names = [entry["name"] for entry in json.loads(scenes_file.read_text())["categories"]]
    bench = make_bench()

    assert list(bench.detector.names) == names
    assert vars(bench)["said"] == [
        f"The model names no classes; it takes the {len(names)} of {scenes_file}"
    ]


def test_a_model_alone_counts_its_classes(make_bench: MakeBench) -> None:
    """`layers` has no data: the classes are 0, 1, 2 and so on."""
    bench = make_bench(data=None)

    assert bench.detector.names == tuple(map(str, range(8)))
    with pytest.raises(EdgeError, match="needs --data: labelled pictures"):
        _ = bench.sets


def test_the_built_in_model_keeps_its_names(make_bench: MakeBench, scenes_file: Path) -> None:
    """Weights that name their classes are not asked what the data says."""
    bench = make_bench(model="builtin", weights=None)

    assert len(bench.detector.names) == 8
    assert vars(bench)["said"] == []


def test_speed_is_against_the_base_size(make_bench: MakeBench) -> None:
    """Both sizes see the same pictures, each letterboxed for itself."""
    bench = make_bench(imgsz=(64, 64), base_imgsz=(96, 128))

    assert (bench.size, bench.base_size) == ((64, 64), (96, 128))
    assert {image.shape for image in bench.base_images} == {(1, 3, 96, 128)}
    assert len(bench.base_images) == len(bench.timed_images)

    export_baseline(bench)

    assert read_manifest(bench.run.file(BASELINE_FOLDER)).input.size == (96, 128)


def test_sizes_too_small_for_a_network_are_known_before(make_bench: MakeBench) -> None:
    """As the family says it, so that none is exported in vain."""
    bench = make_bench(model="ssd300_vgg16", weights="none")

    assert bench.takes((268, 300))
    assert not bench.takes((264, 300))


def test_a_base_size_that_the_network_cannot_take(make_bench: MakeBench) -> None:
    """It is found with the other checks."""
    with pytest.raises(EdgeError, match="input size 64x100 is not a multiple"):
        make_bench(base_imgsz=(64, 100)).check()
