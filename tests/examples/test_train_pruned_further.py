"""The example of further training runs, in plain Python, on a network with all substitutes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from runtime_bench.data.dataset import Dataset, read_dataset
from tests.reference.toy_networks import tiny_architecture
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import replacement
from xprune.layers.surgery import apply_plan
from xprune.models.detector import Detector
from xprune.models.families import YOLO
from xprune.models.files.checkpoint import save_checkpoint
from xprune.models.load import load_detector
from xprune.models.ultralytics.further import trained_detector

RUN = """
import sys
from tests.examples.train_pruned_further import main
main(*sys.argv[1:4], imgsz=64, batch=4, workers=0, device="cpu", amp=False, plots=False,
     project=sys.argv[4], name="train", verbose=False, warmup_epochs=0)
"""
CHOSEN = {
    "model.2.m.0": "identity",
    "model.6": "linear",
    "model.7.conv": "depthwise",
    "model.8.m.0": "convolution",
    "model.18": "thin-50",
    "model.22.cv2.1.0.conv": "lowrank-50",
    "model.22.cv3.0.0.act": "clip",
}


def pruned_detector(names: tuple[str, ...]) -> Detector:
    """A tiny YOLOv8 with substitutes of many kinds, a thinner block among them."""
    architecture = tiny_architecture(classes=len(names))
    network = YOLO.build_network(architecture, seed=0)
    images = torch.zeros(1, 3, 64, 64)
    found = {
        c.name: c for c in find_candidates(network, lambda: YOLO.head_outputs(network, images))
    }
    plan = [replacement(found[layer], how) for layer, how in CHOSEN.items()]
    detector = Detector(
        network=apply_plan(network, plan),
        name="tiny",
        family="yolo",
        names=names,
        stride=YOLO.network_stride(network),
        architecture=architecture,
        licence=YOLO.licence,
        weights_sha256=None,
    )
    return replace(detector, plan=tuple(one.to_json() for one in plan))


def write_yolo(folder: Path, dataset: Dataset) -> Path:
    """Write a data set as Ultralytics reads it; return its data.yaml."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for picture in dataset.pictures:
        (folder / "images" / picture.path.name).write_bytes(picture.path.read_bytes())
        height, width = picture.size
        lines = []
        for (left, top, right, bottom), label in zip(
            picture.boxes.tolist(), picture.labels.tolist(), strict=True
        ):
            centre = ((left + right) / 2 / width, (top + bottom) / 2 / height)
            size = ((right - left) / width, (bottom - top) / height)
            lines.append(" ".join(map(str, (label, *centre, *size))))
        (folder / "labels" / f"{picture.path.stem}.txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    names = "\n".join(f"  {index}: {name}" for index, name in enumerate(dataset.names))
    path.write_text(f"path: {folder}\ntrain: images\nval: images\nnames:\n{names}\n")
    return path


@pytest.mark.slow
def test_a_pruned_model_is_trained_further(tmp_path: Path, scenes_file: Path, repository: Path):
    """The same layers with other weights come back, and load as what they are."""
    dataset = read_dataset(scenes_file)
    before = pruned_detector(dataset.names)
    model, out = tmp_path / "pruned.safetensors", tmp_path / "further.safetensors"
    save_checkpoint(model, before, imgsz=(64, 64))
    data = write_yolo(tmp_path / "data", dataset)

    done = subprocess.run(
        [sys.executable, "-c", RUN, model, data, out, tmp_path / "runs"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository), "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    after = load_detector(str(out))
    assert after.plan == before.plan
    trained = dict(after.network.named_parameters())
    for name, old in before.network.named_parameters():
        if old.ndim == 4 and name.endswith(".weight"):
            # What decodes distributions is fixed, and no weight to be trained.
            assert torch.equal(trained[name], old) is (".dfl." in name), name
    assert not (tmp_path / "home").exists()


def test_another_network_is_not_taken_back():
    """Ultralytics' own network in place of ours would lose what was pruned."""
    detector = pruned_detector(("cat", "dog"))
    whole = YOLO.build_network(detector.architecture)

    with pytest.raises(Exception, match="is not the network of tiny"):
        trained_detector(detector, whole)
