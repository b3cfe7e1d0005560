"""Model files that are missing, damaged, hostile or of another kind: one line, no folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import LITTLE, TINY_YAML, error_line, run

pytestmark = pytest.mark.needs_torch

BUILTIN_WEIGHTS = Path("xprune", "builtin", "detector.safetensors")
DATA = ("--data", "scenes/instances.json")


@dataclass(frozen=True)
class Bad:
    """A request that cannot be met.

    Attributes:
        options: Of `prune-export`.
        says: What the error must name: where, and what is wrong or to be done.
        code: The exit code.
    """

    options: tuple[str, ...]
    says: tuple[str, ...]
    code: int = 1


def _missing_file(place: Path, root: Path) -> Bad:
    return Bad(("--model", "yolov8n.pt"), ("yolov8n.pt", "nothing is downloaded"))


def _unknown_name(place: Path, root: Path) -> Bad:
    return Bad(("--model", "yolov99"), ("yolov99", "there are builtin, yolov8n"))


def _folder(place: Path, root: Path) -> Bad:
    return Bad(("--model", "scenes"), ("scenes is a folder", "give the weights file"))


def _wrong_extension(place: Path, root: Path) -> Bad:
    (place / "model.txt").write_text("weights")
    return Bad(("--model", "model.txt"), ("model.txt", ".pt, .pth or .safetensors"))


def _exported_model(place: Path, root: Path) -> Bad:
    return Bad(("--model", "artifact/model.onnx"), ("model.onnx", "give the PyTorch weights"))


def _truncated_safetensors(place: Path, root: Path) -> Bad:
    content = (root / BUILTIN_WEIGHTS).read_bytes()
    (place / "cut.safetensors").write_bytes(content[: len(content) // 2])
    return Bad(("--model", "cut.safetensors"), ("cut.safetensors", "damaged"))


def _truncated_pth(place: Path, root: Path) -> Bad:
    path = _saved({"model.0.conv.weight": [[1.0] * 100] * 100}, place / "cut.pth")
    path.write_bytes(path.read_bytes()[:-2000])
    return Bad(("--model", "tiny.yaml", "--weights", "cut.pth"), ("cut.pth",))


def _not_finite(place: Path, root: Path) -> Bad:
    import torch

    state = _tiny_state(place)
    state["model.0.conv.weight"][0] = torch.nan
    torch.save(state, place / "nan.pth")
    return Bad(("--model", "tiny.yaml", "--weights", "nan.pth"), ("nan.pth", "not finite"))


def _pickle_that_runs_code(place: Path, root: Path) -> Bad:
    _saved_as_is({"model": _Call(os.mknod, str(place / "made"))}, place / "evil.pt")
    return Bad(("--model", "evil.pt"), ("evil.pt",))


def _yaml_that_runs_code(place: Path, root: Path) -> Bad:
    attack = f"__import__('os').mknod({str(place / 'made')!r})"
    (place / "evil.yaml").write_text(f'activation: "{attack}"\n{TINY_YAML}')
    return Bad(("--model", "evil.yaml", "--weights", "none"), ("evil.yaml", "activation"))


def _yaml_with_a_python_object(place: Path, root: Path) -> Bad:
    attack = f"!!python/object/apply:os.mknod [{str(place / 'made')!r}]"
    (place / "evil.yaml").write_text(f"nc: {attack}\n")
    return Bad(("--model", "evil.yaml", "--weights", "none"), ("evil.yaml", "plain values"))


def _weights_of_another_architecture(place: Path, root: Path) -> Bad:
    _saved_as_is(_tiny_state(place), place / "tiny.pth")
    return Bad(
        ("--model", "yolov8n", "--weights", "tiny.pth"),
        ("tiny.pth does not fit", "give the architecture"),
    )


def _weights_without_architecture(place: Path, root: Path) -> Bad:
    _saved_as_is(_tiny_state(place), place / "tiny.pth")
    return Bad(("--model", "tiny.pth"), ("tiny.pth holds tensors only", "--model yolov8n"))


def _no_weights(place: Path, root: Path) -> Bad:
    return Bad(("--model", "yolov8n"), ("yolov8n", "--weights none"), code=2)


def _weights_twice(place: Path, root: Path) -> Bad:
    return Bad(("--model", "builtin", "--weights", "none"), ("leave --weights out",), code=2)


def _names_that_do_not_fit(place: Path, root: Path) -> Bad:
    content = {"architecture": _tiny_architecture(), "names": ["a", "b"]}
    _saved_as_is({**content, "state_dict": _tiny_state(place)}, place / "two.pth")
    return Bad(("--model", "two.pth"), ("two.pth", "8 classes", "2 names"))


def _segmentation(place: Path, root: Path) -> Bad:
    return Bad(("--model", "yolov8n-seg", "--weights", "none"), ("Segment", "masks"))


def _key_points(place: Path, root: Path) -> Bad:
    return Bad(("--model", "yolov8n-pose", "--weights", "none"), ("Pose", "key points"))


def _rotated_boxes(place: Path, root: Path) -> Bad:
    return Bad(("--model", "yolov8n-obb", "--weights", "none"), ("OBB", "rotated"))


def _pruned_already(place: Path, root: Path) -> Bad:
    from dataclasses import replace

    from xprune.models.files.checkpoint import save_checkpoint
    from xprune.models.load import load_detector

    detector = load_detector("tiny.yaml", weights="none")
    plan = {"layer": "model.2.m.0", "substitute": "identity"}
    plan |= {"in_channels": 8, "out_channels": 8, "stride": [1, 1]}
    network = _without(detector.network, plan)
    save_checkpoint(place / "cut.safetensors", replace(detector, network=network, plan=(plan,)))
    return Bad(("--model", "cut.safetensors"), ("cut.safetensors is pruned already",))


CASES: dict[str, Callable[[Path, Path], Bad]] = {
    make.__name__.strip("_"): make
    for make in (
        _missing_file,
        _unknown_name,
        _folder,
        _wrong_extension,
        _exported_model,
        _truncated_safetensors,
        _truncated_pth,
        _not_finite,
        _pickle_that_runs_code,
        _yaml_that_runs_code,
        _yaml_with_a_python_object,
        _weights_of_another_architecture,
        _weights_without_architecture,
        _no_weights,
        _weights_twice,
        _names_that_do_not_fit,
        _segmentation,
        _key_points,
        _rotated_boxes,
        _pruned_already,
    )
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_model_is_refused_before_anything_is_written(
    name: str, place: Path, repository: Path
) -> None:
    """One line names the file and what to do; the run's folder is not even made."""
    bad = CASES[name](place, repository)

    done = run("prune-export", *LITTLE, *DATA, *bad.options, "--out", "out")

    message = error_line(done)
    assert [words for words in bad.says if words not in message] == []
    assert done.exit_code == bad.code
    assert not (place / "out").exists()
    assert not (place / "made").exists()


@pytest.mark.parametrize("name", ["missing_file", "yaml_that_runs_code", "segmentation"])
def test_layers_refuses_a_bad_model_too(name: str, place: Path, repository: Path) -> None:
    """`layers` says the same, and lists nothing."""
    bad = CASES[name](place, repository)

    done = run("layers", *bad.options)

    message = error_line(done)
    assert [words for words in bad.says if words not in message] == []
    assert done.stdout == ""
    assert not (place / "made").exists()


class _Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def _tiny_architecture() -> Any:
    import yaml

    return yaml.safe_load(TINY_YAML)


def _tiny_state(place: Path) -> dict[str, Any]:
    from xprune.models.load import load_detector

    return load_detector(str(place / "tiny.yaml"), weights="none").network.state_dict()


def _without(network: Any, step: dict[str, Any]) -> Any:
    from xprune.layers.surgery import apply_plan, replacements_from_json

    return apply_plan(network, replacements_from_json([step]))


def _saved(values: dict[str, Any], path: Path) -> Path:
    import torch

    return _saved_as_is({name: torch.tensor(value) for name, value in values.items()}, path)


def _saved_as_is(content: object, path: Path) -> Path:
    import torch

    torch.save(content, path)
    return path
