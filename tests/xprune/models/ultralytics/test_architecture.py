"""An architecture may hold known words only, and nothing in it is ever run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from runtime_bench.errors import EdgeError
from xprune.models.families import YOLO
from xprune.models.ultralytics.architecture import check_architecture
from xprune.models.ultralytics.catalogue import known_architecture, read_yaml
from xprune.models.ultralytics.upstream import tasks, without_eval


@pytest.mark.parametrize(
    "name",
    ["yolov8n", "yolov8s-p2", "yolov8n-ghost", "yolo11n", "yolo12n", "yolov9t", "yolov5n"],
)
def test_detectors_of_ultralytics_are_allowed(name):
    """What Ultralytics ships for detection passes, and is plain JSON afterwards."""
    checked = check_architecture(known_architecture(name))

    assert json.loads(json.dumps(checked)) == checked
    assert check_architecture(checked) == checked


@pytest.mark.parametrize("name", ["yolov8n", "yolo11m"])
def test_a_checked_architecture_builds_the_same_network(name):
    """Ultralytics builds the same tensors from our checked copy as from its own file."""
    theirs = tasks().DetectionModel(f"{name}.yaml", ch=3, verbose=False).state_dict()

    ours = YOLO.build_network(known_architecture(name)).state_dict()

    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("yolov8n-seg", "Segment: it makes masks"),
        ("yolov8n-pose", "Pose: it finds key points"),
        ("yolo11n-obb", "OBB: its boxes are rotated"),
        ("yolov8n-cls", "Classify: it classifies whole pictures"),
        ("yolov8n-world", "WorldDetect: its classes come from text"),
        ("yolov8n-rtdetr", "RTDETRDecoder: RT-DETR is a transformer"),
        ("yolov10n", "v10Detect: it works without NMS"),
        ("yolo26n", "works without NMS"),
    ],
)
def test_other_tasks_are_refused_with_the_reason(name, reason):
    """A model that does not detect boxes of fixed classes is refused in one line."""
    with pytest.raises(EdgeError, match=reason) as error:
        check_architecture(known_architecture(name), where=name)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "activation",
    [
        "__import__('pathlib').Path('{made}').touch()",
        "nn.SiLU(__import__('pathlib').Path('{made}').touch())",
        "nn.SiLU() if __import__('pathlib').Path('{made}').touch() else nn.ReLU()",
        "torch.load('{made}')",
        "torch.hub.load('{made}', 'x')",
        "nn.Module.__class__()",
        "nn.SiLU",
        "nn.Linear(8, 8)",
        "nn.LeakyReLU(*[0.1])",
        "nn.ReLU(**{{'inplace': True}})",
        "(" * 70,
    ],
)
def test_an_activation_is_never_run(architecture, tmp_path, activation):
    """Whatever is no plain call of a known activation is refused, and touches nothing."""
    made = tmp_path / "made"
    architecture["activation"] = activation.format(made=made)

    with pytest.raises(EdgeError, match=r"activation .* is not allowed"):
        YOLO.build_network(architecture)

    assert not made.exists()


def test_ultralytics_alone_would_run_an_activation(architecture, tmp_path, monkeypatch):
    """The twin of the test above: the attack is real as Ultralytics is used elsewhere."""
    monkeypatch.setattr(tasks(), "SAFE_LOAD", False)
    made = tmp_path / "made"
    code = f"(__import__('pathlib').Path('{made}').touch(), nn.SiLU())[1]"
    architecture["activation"] = code

    tasks().DetectionModel(architecture, ch=3, verbose=False)

    assert made.exists()


def test_a_second_line_of_defence(architecture, tmp_path, monkeypatch):
    """What our check would miss, Ultralytics' own path without eval refuses."""
    monkeypatch.setattr(tasks(), "SAFE_LOAD", False)
    made = tmp_path / "made"
    architecture["activation"] = f"__import__('pathlib').Path('{made}').touch()"

    with without_eval(), pytest.raises(TypeError, match="blocked"):
        tasks().DetectionModel(architecture, ch=3, verbose=False)

    assert not made.exists()


@pytest.mark.parametrize(
    "activation", ["nn.SiLU()", "torch.nn.LeakyReLU(0.1)", "nn.Hardswish()"]
)
def test_usual_activations_are_allowed(architecture, activation):
    """The forms that Ultralytics documents pass, and are what the network computes with."""
    architecture["activation"] = activation

    network = YOLO.build_network(architecture)

    kind = activation.partition("(")[0].rpartition(".")[2]
    assert type(network.get_submodule("model.0.act")).__name__ == kind


@pytest.mark.parametrize(
    "module",
    [
        "torch_safe_load",
        "load_checkpoint",
        "TorchVision",
        "AIFI",
        "nn.Module",
        "torchvision.ops.misc.torch",
        "__builtins__",
        "YAML",
        7,
        None,
    ],
)
def test_a_module_is_one_of_a_list(architecture, module):
    """A name that Ultralytics would look up among its functions is refused."""
    architecture["backbone"][0] = [-1, 1, module, ["weights.pt"]]

    with pytest.raises(EdgeError, match="is not one that YOLO detectors are built from"):
        YOLO.build_network(architecture)


FAULTS = {
    "no dictionary": ([], "is no YOLO architecture"),
    "nc": ({"nc": 0}, "nc is 0; allowed is 1 to 10000"),
    "nc as a text": ({"nc": "3"}, "nc is '3', not a whole number"),
    "nc as a truth": ({"nc": True}, "nc is True, not a number"),
    "unknown key": (
        {"text_model": "x"},
        "keys that a YOLO detector does not use: 'text_model'",
    ),
    "infinite width": ({"width_multiple": float("inf")}, "multiple is inf"),
    "grey input": ({"channels": 1}, "only colour pictures"),
    "no layers": ({"backbone": []}, "lists of 1 to 200 layers"),
    "many layers": ({"backbone": [[-1, 1, "Conv", [8]]] * 201}, "lists of 1 to 200 layers"),
    "short layer": ({"backbone": [[-1, 1, "Conv"]]}, r"is not \[from, repeats, module"),
    "repeats": ({"backbone": [[-1, 1000, "C2f", [8]]]}, "repeats is 1000"),
    "wide": ({"backbone": [[-1, 1, "Conv", [10**6]]]}, "argument 1 of Conv is 1000000"),
    "a word": ({"backbone": [[-1, 1, "Conv", ["os"]]]}, "argument 1 of Conv is 'os'; words"),
    "a later layer": ({"backbone": [[3, 1, "Conv", [8]]]}, "reads from layer 3, not before it"),
    "no Detect": ({"head": [[-1, 1, "Conv", [8]]]}, "a detector ends in its only Detect layer"),
    "an open scale": (
        {"scales": {"n": [1, 1, 64], "s": [1, 1, 64]}},
        "add a line such as 'scale",
    ),
    "a lost scale": ({"scales": {"n": [1, 1, 64]}, "scale": "q"}, "there is no scale 'q'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(architecture, fault):
    """Each fault is one line with the place and what would be allowed."""
    change, message = FAULTS[fault]
    raw = {**architecture, **change} if isinstance(change, dict) else change

    with pytest.raises(EdgeError, match=message) as error:
        check_architecture(raw, where="mine.yaml")

    assert str(error.value).startswith("mine.yaml")
    assert "\n" not in str(error.value)


def test_a_yaml_with_python_objects_is_refused(tmp_path):
    """A tag that would build an object is an error that names the line."""
    made = tmp_path / "made"
    path = tmp_path / "evil.yaml"
    path.write_text(f"nc: 3\nbackbone: !!python/object/apply:os.mknod ['{made}']\n")

    with pytest.raises(EdgeError, match=r"evil\.yaml in line 2: could not determine"):
        read_yaml(path)

    assert not made.exists()


def test_a_yaml_that_unfolds_to_billions_is_refused_at_once(tmp_path):
    """References to references are not copied out, neither by the check nor by its message."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 30)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, "nc: 3", "backbone: *a29", "head: *a29"]))

    with pytest.raises(EdgeError, match="keys that a YOLO detector does not use"):
        check_architecture(read_yaml(path))
    bomb = read_yaml(path)["a29"]
    with pytest.raises(EdgeError, match="is not one that YOLO"):
        check_architecture({"nc": 3, "backbone": [[-1, 1, bomb, []]], "head": bomb})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "is no readable YAML"),
        (b"[" * 50_000, "is no readable YAML"),
        (b"nc: [", "in line 1"),
        (b"#" * 300_000, "has over 262144 bytes"),
    ],
)
def test_a_broken_yaml_is_one_line(tmp_path: Path, content: bytes, message: str):
    """Bytes that are no text, deep nesting, a cut file, a huge one: errors, not traces."""
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)

    with pytest.raises(EdgeError, match=message):
        read_yaml(path)


def test_the_scale_of_a_custom_yaml_comes_from_its_name(tmp_path, architecture):
    """As with Ultralytics, "yolov8s-mine.yaml" is of scale s."""
    architecture["scales"] = {"n": [0.5, 0.5, 64], "s": [1.0, 1.0, 64]}
    path = tmp_path / "yolov8s-mine.yaml"
    path.write_text(yaml.safe_dump(architecture))

    checked = check_architecture(read_yaml(path))

    assert (checked["scale"], checked["scales"]) == ("s", {"s": [1.0, 1.0, 64]})


def test_names_that_nobody_ships_are_unknown():
    """A name without a file, or with a scale that its file lacks, is not known."""
    assert known_architecture("yolov8n") is not None
    assert known_architecture("yolo11x.yaml") is not None
    assert known_architecture("yolov8q") is None
    assert known_architecture("yolov8n.pt") is None
    assert known_architecture("../v8/yolov8n") is None
