"""A classifier that Ultralytics exported answers here as it does there, and is scored."""

import json

import numpy as np
import pytest
from PIL import Image

from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.artifact.detector import load
from runtime_bench.data.dataset import read_dataset
from tests.exporters.conftest import run_upstream

pytestmark = [pytest.mark.needs_torch, pytest.mark.slow]

SIZES = ((90, 70), (64, 64), (40, 201), (333, 50), (65, 64))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the file, pictures of odd sizes, and what upstream says of them."""
    folder = tmp_path_factory.mktemp("classifier")
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for index, size in enumerate(SIZES):
        coarse = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size).save(folder / "pictures" / f"{index}.png")
    run_upstream("upstream_classify.py", folder)
    return folder


def test_scores_are_those_of_upstream(exported):
    """Of the five best classes, in the same order."""
    wanted = json.loads((exported / "scores.json").read_text())
    classify = load(exported / "yolov8n-cls.onnx", min_score=0.0)

    for name, scores in wanted.items():
        found = classify(exported / "pictures" / name)

        assert found.labels.tolist() == np.argsort(scores)[::-1][:5].tolist()
        np.testing.assert_allclose(found.scores, np.sort(scores)[::-1][:5], atol=1e-5)
    # Else any picture would do.
    assert np.ptp(list(wanted.values()), axis=0).max() > 0.01
    assert len(wanted) == len(SIZES)


def test_top_1_is_that_of_upstream(exported):
    """Against labels that agree with it on all pictures but one."""
    wanted = json.loads((exported / "scores.json").read_text())
    best = {name: int(np.argmax(scores)) for name, scores in wanted.items()}
    best["0.png"] = int(np.argmin(wanted["0.png"]))
    table = exported / "pictures" / "labels.csv"
    table.write_text("".join(f"{name},class {label}\n" for name, label in best.items()))

    found = evaluate_artifact(exported / "yolov8n-cls.onnx", read_dataset(table))

    assert (found.top1, found.top5, found.pictures) == (0.8, 0.8, len(SIZES))
