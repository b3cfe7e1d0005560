"""A study from start to end: what its JSON holds, what is made once, what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.data.dataset import read_dataset
from runtime_bench.errors import EdgeError, UsageError
from tests.xprune.study.conftest import STUDY, TINY, TRAINED, made
from xprune.study.make import make_study

ONLY_TINY = replace(STUDY, modes=("zeroed",), seeds=(0,))


@pytest.fixture
def content(whole: Path) -> Any:
    """What the finished study's JSON holds."""
    return json.loads((whole / "study.json").read_text())


def nodes(whole: Path, architecture: str, artifact: str) -> Counter[str]:
    """Count the nodes of an artifact's graph, by operator."""
    folder = whole / "architectures" / architecture / artifact
    return Counter(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)


def test_a_trained_network_has_its_accuracy(trained: Path, root: Path) -> None:
    """As pycocotools has it, with an interval, and the share that is kept."""
    (found,) = json.loads((trained / "study.json").read_text())["architectures"]
    arm = found["arms"][1]

    test = read_dataset(root / "scenes" / "instances.json")
    names = found["data"]["test"]
    by_name = {picture.name: picture for picture in test.pictures}
    dataset = replace(test, pictures=tuple(by_name[name] for name in names))
    artifact = trained / "architectures" / "builtin" / arm["artifact"]
    expected = evaluate_artifact(artifact, dataset, progress=False).ap
    assert found["figure"] == "ap"
    assert found["base"]["ap"] > 0
    assert arm["ap"] == pytest.approx(expected, abs=1e-12)
    assert arm["ap_ratio"] == pytest.approx(arm["ap"] / found["base"]["ap"])
    assert len(arm["ap_interval"]) == 2


def test_random_weights_have_no_accuracy(content: Any, whole: Path) -> None:
    """Neither under its name nor for the unpruned network, and the table says why."""
    (untrained,) = content["architectures"]

    keys = {key for arm in [*untrained["arms"], untrained["base"]] for key in arm}
    assert untrained["trained"] is False
    assert not any(key.startswith(("ap", "top1")) for key in keys)
    assert {"latency_ratio", "layers", "parameters", "macs"} <= keys
    text = (whole / "study.md").read_text()
    assert "Untrained: random weights, so no accuracy." in text.partition("## tiny")[2]


def test_without_labels_there_is_agreement_and_no_accuracy(tmp_path: Path, root: Path) -> None:
    """With the unpruned network's own answers, under a name of its own."""
    entry = replace(TRAINED, data="scenes/images")
    study = replace(ONLY_TINY, entries=(entry,), modes=("removed",), criteria=("l1",))

    (found,) = made(study, tmp_path / "out", root)["architectures"]

    assert found["figure"] == "same_answers"
    assert "same_answers" not in found["base"]
    (arm,) = found["arms"]
    assert 0 <= arm["same_answers"] < 1
    assert not any(key.startswith(("ap", "top1")) for key in arm)


def test_what_is_scored_on_never_tests(content: Any) -> None:
    """By any seed; test pictures are the same for all, what is scored on is not."""
    for architecture in content["architectures"]:
        data = architecture["data"]
        for names in data["calibration"].values():
            assert len(names) == 4
            assert not set(names) & set(data["test"])
        assert data["calibration"]["0"] != data["calibration"]["1"]


def test_as_many_layers_as_the_ratio_says(content: Any) -> None:
    """Of all convolutions, rounded up, in every mode."""
    for architecture in content["architectures"]:
        for arm in architecture["arms"]:
            expected = math.ceil(arm["ratio"] * architecture["convolutions"] - 1e-9)
            assert len(arm["layers"]) == expected


def test_zeroing_takes_nothing_out_and_bypassing_does(content: Any, whole: Path) -> None:
    """Of the graph, the parameters and the multiply-adds."""
    for architecture in content["architectures"]:
        name, base = architecture["name"], architecture["base"]
        whole_graph = nodes(whole, name, "base/artifact")
        for arm in architecture["arms"]:
            left = nodes(whole, name, arm["artifact"])
            if arm["mode"] == "zeroed":
                assert left == whole_graph
                assert (arm["parameters"], arm["macs"]) == (base["parameters"], base["macs"])
            if arm["mode"] == "removed":
                assert left["Conv"] == whole_graph["Conv"] - len(arm["layers"])
                assert arm["parameters"] < base["parameters"]
                assert arm["macs"] < base["macs"]


def test_the_same_layers_are_the_same_artifact(content: Any) -> None:
    """L1 looks at no picture, so seeds do not change what it chooses."""
    for architecture in content["architectures"]:
        by_l1 = [arm for arm in architecture["arms"] if arm["criterion"] == "l1"]
        sums = {(arm["mode"], arm["ratio"], arm["sha256"]) for arm in by_l1}
        assert len(by_l1) == 4
        assert len(sums) == 2


def test_agreement_is_told_for_each_pair(content: Any) -> None:
    """In ranks for each seed; in choices also for each mode and ratio, and between seeds."""
    for architecture in content["architectures"]:
        pairs = {(rank["first"], rank["second"]) for rank in architecture["ranks"]}
        assert pairs == {("l1", "grad_act"), ("l1", "fisher"), ("grad_act", "fisher")}
        assert len(architecture["ranks"]) == 6
        choices = architecture["choices"]
        assert len(choices) == 4 * 2  # two among criteria and two with ours, for each seed
        assert all(0 <= choice["jaccard"] <= 1 for choice in choices)
        zeroed = [choice for choice in choices if choice["first"][1] == "zeroed"]
        assert all(0 < choice["by_chance"] <= 1 for choice in zeroed)
        l1 = [pair for pair in architecture["repeats"] if pair["criterion"] == "l1"]
        assert [pair["jaccard"] for pair in l1] == [1.0] * 2


def test_the_unpruned_network_is_timed_against_itself(content: Any) -> None:
    """What a ratio is where nothing was changed."""
    for architecture in content["architectures"]:
        low, high = architecture["base"]["again_interval"]
        assert 0 < low <= architecture["base"]["again_ratio"] <= high
    assert content["machine"]["cores_available"] >= 1


def test_what_is_whole_is_not_made_again(
    whole: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    """Nor scored, nor timed: the same command brings the same figures."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / "study.json").unlink()
    for name in ("prune_detector", "zeroed"):
        monkeypatch.setattr(f"xprune.study.arms.{name}", None)
    monkeypatch.setattr("xprune.study.ground.build_artifact", None)
    monkeypatch.setattr("xprune.study.ground.compute_scores", None)
    monkeypatch.setattr("xprune.contest.timing.Openings", None)

    again = made(STUDY, out, root)

    assert json.loads((out / "study.json").read_text()) == again
    assert again["architectures"] == content["architectures"]


def test_an_arm_whose_model_was_touched_is_made_again(
    tmp_path: Path, root: Path, whole: Path
) -> None:
    """Its checksum says so."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    arm = json.loads((out / "architectures/tiny/arms/l1-zeroed-0.2-0.json").read_text())
    model = out / "architectures" / "tiny" / arm["artifact"] / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(good + b"x")

    again = made(ONLY_TINY, out, root)

    assert model.read_bytes() == good
    assert again["architectures"][0]["arms"][0]["sha256"] == arm["sha256"]


def test_an_arm_cannot_name_a_place_outside(tmp_path: Path, root: Path, whole: Path) -> None:
    """A file that was changed by hand is refused in one line."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    path = out / "architectures/tiny/arms/l1-zeroed-0.2-0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "artifact": "../../../up"}))

    with pytest.raises(EdgeError, match=r"l1-zeroed-0\.2-0\.json is damaged .*outside the st"):
        made(ONLY_TINY, out, root)


def test_other_options_are_refused(tmp_path: Path, root: Path, whole: Path) -> None:
    """The message names what differs; more ratios and criteria are none of it."""
    with pytest.raises(UsageError, match=r"tiny was made with other .*conf is 0\.5 here and 0"):
        made(replace(ONLY_TINY, conf=0.5), whole, root)
    fewer = replace(ONLY_TINY, entries=(replace(TINY, images=3),))
    with pytest.raises(UsageError, match="images is 3 here and 4 there"):
        made(fewer, whole, root)


def test_what_cannot_be_reached_is_told(tmp_path: Path, root: Path) -> None:
    """An arm without enough layers is an entry with the reason, and no figure."""
    study = replace(ONLY_TINY, modes=("removed",), criteria=("l1",), ratios=(0.1, 1.0))

    content = made(study, tmp_path / "out", root)

    good, bad = content["architectures"][0]["arms"]
    assert "latency_ratio" in good
    assert "--fraction 1 asks for" in bad["error"]
    assert (
        "tiny, l1 removed, 100 %, seed 0: --fraction 1"
        in (tmp_path / "out" / "study.md").read_text()
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (replace(TINY, data="nowhere.json"), r"tiny: there is no .*nowhere\.json \(data\)"),
        (replace(TINY, model="magic"), "no model is called 'magic'"),
        (replace(TINY, imgsz=(65, 65)), "65x65 is not a multiple of the network's stride"),
        (replace(TINY, images=12), "12 pictures; 16 are needed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    tmp_path: Path, root: Path, entry: Any, words: str
) -> None:
    """Also of the last architecture: nothing of the first one is written."""
    study = replace(STUDY, entries=(TINY, replace(entry, name="other")))
    with pytest.raises(EdgeError, match=words.replace("tiny", "other")):
        make_study(
            study, study.entries, tmp_path / "out", root=root, command="", say=lambda line: None
        )

    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, root: Path) -> None:
    """Nothing of a person's is overwritten."""
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(EdgeError, match="holds files but no study"):
        made(ONLY_TINY, tmp_path, root)
