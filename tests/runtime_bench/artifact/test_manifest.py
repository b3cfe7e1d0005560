"""The manifest: what is good comes back, and whatever is wrong is named."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.artifact.input_spec import RESIZES, InputSpec
from runtime_bench.artifact.manifest import (
    PRECISIONS,
    FileEntry,
    Manifest,
    OutputSpec,
    artifact_folder,
    file_entry,
    manifest_from_json,
    manifest_to_json,
    model_path,
    read_manifest,
    write_manifest,
)
from runtime_bench.errors import EdgeError

OLD_FILE = Path(__file__).parents[2] / "data" / "manifest_v1.json"
OLD = json.loads(OLD_FILE.read_text(encoding="utf-8"))
SECOND = {**OLD, "version": 2, "precision": "int8"}
THIRD = {
    **SECOND,
    "version": 3,
    "pictures": [],
    "input": {**OLD["input"], "shorter_px": None},
}
NEW = {**THIRD, "version": 4}

# "test", whose digest stands in the old file.
MODEL_BYTES = b"test"

TEXTS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=30)
FRACTIONS = st.floats(0, 1)
SIDES = st.integers(1, 40).map(lambda steps: steps * 32)
THREE = st.tuples(*[st.floats(0.125, 4)] * 3)
JSON_OBJECTS = st.dictionaries(st.text(), st.lists(st.integers() | st.text()), max_size=3)

VALUES = {
    "size": st.tuples(SIDES, SIDES),
    "name": TEXTS,
    "scale": st.floats(0.001, 1),
    "mean": THREE,
    "std": THREE,
}
INPUTS = st.builds(
    InputSpec,
    pad_value=st.integers(0, 255),
    centred=st.booleans(),
    scale_up=st.booleans(),
    **VALUES,
) | st.sampled_from(["fit", "stretch"]).flatmap(
    lambda resize: st.builds(
        InputSpec,
        resize=st.just(resize),
        **VALUES,
        **{key: st.just(value) for key, value in RESIZES[resize].items()},
    )
)
LIMITS = {
    "min_score": FRACTIONS,
    "iou": FRACTIONS,
    "max_boxes": st.integers(1, 1000),
    "multi_label": st.booleans(),
}
OUTPUTS = st.builds(OutputSpec, **LIMITS) | st.builds(
    OutputSpec, kind=st.just("raw"), names=st.tuples(TEXTS), decoder=TEXTS, **LIMITS
)
ENTRIES = st.builds(
    FileEntry,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size_bytes=st.integers(1, 10**9),
)
MANIFESTS = st.builds(
    Manifest,
    model_name=TEXTS,
    family=TEXTS,
    licence=TEXTS,
    names=st.lists(TEXTS, min_size=1, max_size=5).map(tuple),
    stride=st.sampled_from([1, 8, 32]),
    input=INPUTS,
    output=OUTPUTS,
    files=st.fixed_dictionaries(
        {"model.onnx": ENTRIES, "picture_1.jpg": ENTRIES}, optional={"report.html": ENTRIES}
    ),
    pictures=st.sampled_from([(), ("picture_1.jpg",)]),
    parity=JSON_OBJECTS,
    provenance=JSON_OBJECTS,
    display_score=FRACTIONS,
    precision=st.sampled_from(PRECISIONS),
)


@pytest.fixture
def artifact(tmp_path):
    """A folder whose files are those of the old manifest."""
    (tmp_path / "model.onnx").write_bytes(MODEL_BYTES)
    (tmp_path / "manifest.json").write_bytes(OLD_FILE.read_bytes())
    return tmp_path


def changed(path, value):
    """Return the old manifest with the field at `path` replaced, or removed for `...`."""
    content = copy.deepcopy(OLD)
    *parents, last = path
    place = content
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


@given(manifest=MANIFESTS)
def test_a_manifest_comes_back_as_it_was_written(manifest):
    """Through JSON text and back, every field is equal."""
    text = json.dumps(manifest_to_json(manifest))

    assert manifest_from_json(json.loads(text), source="test") == manifest


@pytest.mark.parametrize("named", [".", "model.onnx", "manifest.json"])
def test_the_old_file_still_loads(artifact, named):
    """Version 1 is read for ever, by any of the three names of an artifact."""
    manifest = read_manifest(artifact / named)

    assert manifest.names == ("red blood cell", "white blood cell", "plättchen")
    assert manifest.input == InputSpec(size=(256, 320))
    assert manifest.output == OutputSpec(kind="raw", names=("output0",), decoder="yolo")
    assert manifest.files["model.onnx"].size_bytes == 4
    assert manifest.precision == "float32"
    assert manifest_to_json(manifest) == NEW | {"precision": "float32"}
    assert model_path(artifact / named).read_bytes() == MODEL_BYTES


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (SECOND, "it has the unknown key .pictures."),
        ({**NEW, "pictures": ["p.jpg"]}, "pictures has 'p.jpg', which files does not"),
        ({**NEW, "pictures": ["p.jpg"] * 65}, "pictures"),
        ({**NEW, "pictures": [3]}, r"pictures\[0\]"),
    ],
)
def test_pictures_are_among_the_files(changes, words):
    """A name that no file has, or that leads out of the folder, is none of them."""
    with pytest.raises(EdgeError, match=words):
        manifest_from_json({"pictures": ["p.jpg"], **changes}, source="test")


def test_the_second_version_still_loads():
    """It knows precisions, and no pictures."""
    manifest = manifest_from_json(SECOND, source="test")

    assert (manifest.precision, manifest.pictures) == ("int8", ())


def test_the_third_version_still_loads():
    """It knows pictures and crops, and nothing that is resized as PyTorch does."""
    manifest = manifest_from_json(THIRD, source="test")
    cropped = {"resize": "crop", "antialias": True, "shorter_px": 320, "pad_value": 7}
    other = {**THIRD, "input": {**THIRD["input"], **cropped}}

    assert manifest.input == InputSpec(size=(256, 320))
    assert manifest_from_json(other, source="test").input.shorter_px == 320
    for wrong in ({"resize": "fit"}, {"pad_value": None}):
        with pytest.raises(EdgeError, match=rf"input\.{next(iter(wrong))}"):
            manifest_from_json({**THIRD, "input": {**THIRD["input"], **wrong}}, source="test")


def test_writing_checks_and_reading_agrees(tmp_path):
    """What `write_manifest` wrote is what `read_manifest` reads."""
    (tmp_path / "model.onnx").write_bytes(MODEL_BYTES)
    manifest = manifest_from_json(OLD, source="test")

    write_manifest(tmp_path, manifest)

    assert read_manifest(tmp_path) == manifest
    assert file_entry(tmp_path / "model.onnx") == manifest.files["model.onnx"]


GOOD_ENTRY = OLD["files"]["model.onnx"]

FAULTS = [
    (("format",), "a cat", "format is 'a cat'; this version knows 'xprune-edge manifest'"),
    (("format",), ..., "format is missing"),
    (("version",), 5, "version is 5; this program reads versions 1 to 4"),
    (("version",), True, "version is True; this program reads versions 1 to 4"),
    (("version",), "1", "version is '1'; this program reads versions 1 to 4"),
    (("version",), 2, "precision is missing"),
    (("precision",), "int8", "unknown key 'precision'"),
    (("model_name",), 7, "model_name must be a text, not a number"),
    (("model_name",), "", "model_name must have 1 to 500 characters, not 0"),
    (("family",), "x" * 501, "family must have 1 to 500 characters, not 501"),
    (("licence",), "a\nb", "licence must be printable, not 'a\\nb'"),
    (("task",), "segment", "task is 'segment'; this version knows 'detect'"),
    (("names",), "person", "names must be a list, not a text"),
    (("names",), [], "names must have 1 to 100000 entries, not 0"),
    (("names",), ["a", 1], "names[1] must be a text, not a number"),
    (("names",), ["a", None], "names[1] must be a text, not null"),
    (("names",), ["\ud800"], "names[0] must be printable, not '\\ud800'"),
    (("stride",), 0, "stride must be from 1 to 1024, not 0"),
    (("stride",), 32.0, "stride must be a whole number, not a number"),
    (("stride",), True, "stride must be a whole number, not true or false"),
    (("input",), [], "input must be an object, not a list"),
    (("input", "size"), [320], "input.size must have 2 entries, not 1"),
    (("input", "size"), [320, 0], "input.size[1] must be from 1 to 16384, not 0"),
    (("input", "size"), [320, "320"], "input.size[1] must be a whole number, not a text"),
    (("input", "size"), [300, 320], "input.size 300x320 is not a multiple of stride 32"),
    (("input", "size"), [10**400, 32], "input.size[0] must be from 1 to 16384, not a number"),
    (("input", "dtype"), "float16", "input.dtype is 'float16'; this version knows 'float32'"),
    (("input", "scale"), 0, "input.scale must be from 1e-06 to 1, not 0"),
    (("input", "scale"), float("nan"), "input.scale must be from 1e-06 to 1, not nan"),
    (("input", "mean"), [0, 0], "input.mean must have 3 entries, not 2"),
    (("input", "mean"), [0, 0, 10**400], "input.mean[2] must be from -1000 to 1000, not a"),
    (("input", "std"), [1, 1, 0], "input.std[2] must be from 1e-06 to 1000, not 0"),
    (("input", "pad_value"), 256, "input.pad_value must be from 0 to 255, not 256"),
    (
        ("input", "antialias"),
        True,
        "input.antialias is true, which resize 'letterbox' never is",
    ),
    (("input", "centred"), 1, "input.centred must be true or false, not a number"),
    (("output", "kind"), "masks", "output.kind is 'masks'; this version knows 'detections',"),
    (("output", "kind"), "detections", "output.names must be 3 different names for kind"),
    (("output", "names"), ["a", "b"], "output.names must be 1 different names for kind 'raw'"),
    (("output", "decoder"), None, "output.decoder must be a text, not null"),
    (("output", "iou"), 1.5, "output.iou must be from 0 to 1, not 1.5"),
    (("output", "min_score"), "0.1", "output.min_score must be a number, not a text"),
    (("output", "max_boxes"), 0, "output.max_boxes must be from 1 to 100000, not 0"),
    (("files",), {}, "files does not list model.onnx"),
    (("files", "model.onnx", "size_bytes"), 0, "files['model.onnx'].size_bytes must be from 1"),
    (
        ("files", "model.onnx", "size_bytes"),
        -4,
        "files['model.onnx'].size_bytes must be from 1",
    ),
    (("files", "model.onnx", "sha256"), "abc", "files['model.onnx'].sha256 must be 64 hexa"),
    (("files", "model.onnx", "sha256"), ..., "files['model.onnx'].sha256 is missing"),
    (("files", "model.onnx", "mode"), 7, "files['model.onnx'] has the unknown key 'mode'"),
    (("files", "/etc/passwd"), GOOD_ENTRY, "files['/etc/passwd'] is no plain file name"),
    (("files", "../x"), GOOD_ENTRY, "files['../x'] is no plain file name"),
    (("files", "a/../../x"), GOOD_ENTRY, "files['a/../../x'] is no plain file name"),
    (("files", "a//x"), GOOD_ENTRY, "files['a//x'] is no plain file name"),
    (("files", "a/./x"), GOOD_ENTRY, "files['a/./x'] is no plain file name"),
    (("files", ""), GOOD_ENTRY, "files[''] is no plain file name"),
    (("files", "C:\\x"), GOOD_ENTRY, "is no plain file name inside the artifact"),
    (("files", "x\n"), GOOD_ENTRY, "files['x\\n'] is no plain file name"),
    (("files", "a" * 500), GOOD_ENTRY, "is no plain file name inside the artifact"),
    (("files", "manifest.json"), GOOD_ENTRY, "a manifest does not describe itself"),
    (("parity",), None, "parity must be an object, not null"),
    (("provenance",), [], "provenance must be an object, not a list"),
    (("display_score",), 25, "display_score must be from 0 to 1, not 25"),
    (("display_score",), float("inf"), "display_score must be from 0 to 1, not inf"),
    (("min_score",), 0.5, "has the unknown key 'min_score'"),
    (("input", "resise"), "x", "input has the unknown key 'resise'"),
    (("output", "nms"), "x", "output has the unknown key 'nms'"),
]


@pytest.mark.parametrize(("path", "value", "problem"), FAULTS)
def test_a_wrong_field_is_named(path, value, problem):
    """The error has one line, which names file, field and problem."""
    with pytest.raises(EdgeError) as caught:
        manifest_from_json(changed(path, value), source="'m.json'")

    assert str(caught.value).startswith("'m.json': ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["float8", 8, None, ""])
def test_an_unknown_precision_is_an_error(value):
    """A file that says what nobody knows is not run."""
    with pytest.raises(EdgeError, match=r"'m\.json': precision"):
        manifest_from_json(NEW | {"precision": value}, source="'m.json'")


def test_writing_refuses_what_reading_would_refuse(tmp_path):
    """No wrong manifest is ever on the disk."""
    (tmp_path / "model.onnx").write_bytes(MODEL_BYTES)
    good = manifest_from_json(OLD, source="test")
    wrong = Manifest(**{**vars(good), "display_score": 2.0})

    with pytest.raises(EdgeError, match=r"manifest\.json': display_score must be from 0 to 1"):
        write_manifest(tmp_path, wrong)

    assert not (tmp_path / "manifest.json").exists()


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(OLD)), inner),
        max_leaves=10,
    ),
    key=st.sampled_from(sorted(OLD)),
)
def test_any_json_gives_a_manifest_or_an_error_of_ours(value, key):
    """Whatever stands in a field, nothing else than an `EdgeError` comes out."""
    for content in (value, {**OLD, key: value}):
        with contextlib.suppress(EdgeError):
            manifest_from_json(content, source="test")


def test_a_changed_model_is_refused(artifact):
    """The same size with other bytes is found by its digest."""
    (artifact / "model.onnx").write_bytes(b"tset")

    with pytest.raises(EdgeError, match=r"model\.onnx' was changed: its sha256"):
        read_manifest(artifact)


def test_a_truncated_model_is_refused(artifact):
    """A file that a copy cut short is named with both sizes."""
    (artifact / "model.onnx").write_bytes(b"te")

    with pytest.raises(EdgeError, match=r"has 2 bytes where the manifest says 4"):
        read_manifest(artifact)


def test_a_missing_model_is_refused(artifact):
    """A manifest alone is not an artifact."""
    (artifact / "model.onnx").unlink()

    with pytest.raises(EdgeError, match=r"model\.onnx' is missing"):
        read_manifest(artifact)


def test_a_named_pipe_is_not_waited_for(artifact):
    """Something that is no plain file is never opened."""
    (artifact / "model.onnx").unlink()
    os.mkfifo(artifact / "model.onnx")

    with pytest.raises(EdgeError, match=r"model\.onnx' is missing"):
        read_manifest(artifact)


def test_a_corrupt_manifest_is_named_with_its_place(artifact):
    """The error of a manifest that was cut short has line and column."""
    (artifact / "manifest.json").write_text('{"format":')

    with pytest.raises(EdgeError, match=r"is not valid JSON: Expecting value at line 1"):
        read_manifest(artifact)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing", r"'.*nothing' does not exist; an artifact is a folder with manifest\.json"),
        ("picture.jpg", r"is no artifact; name its folder, model\.onnx or manifest\.json"),
        ("empty", r"'.*empty' has no manifest\.json; an artifact comes with one"),
        ("bare/model.onnx", r"'.*bare' has no manifest\.json"),
    ],
)
def test_what_is_no_artifact_is_named(tmp_path, name, problem):
    """Each way of missing the artifact has its own answer."""
    (tmp_path / "picture.jpg").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "model.onnx").write_text("")

    with pytest.raises(EdgeError, match=problem):
        artifact_folder(tmp_path / name)
