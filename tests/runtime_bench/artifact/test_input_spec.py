"""What goes together in the input of a manifest, and what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import manifest_from_json, manifest_to_json
from runtime_bench.errors import EdgeError

OLD = json.loads((Path(__file__).parents[2] / "data" / "manifest_v1.json").read_text("utf-8"))
NEW = manifest_to_json(manifest_from_json(OLD, source="test"))
FITTED = {"resize": "fit", "pad_value": None, "centred": False}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pad_value": None}, "pad_value is null, which resize 'letterbox' never is"),
        ({**FITTED, "pad_value": 114}, "pad_value is 114, which resize 'fit' never is"),
        ({**FITTED, "centred": True}, "centred is true, which resize 'fit' never is"),
        ({**FITTED, "scale_up": False}, "scale_up is false, which resize 'fit' never is"),
        ({**FITTED, "antialias": True}, "antialias is true, which resize 'fit' never is"),
        ({**FITTED, "shorter_px": 320}, "shorter_px does not fit resize 'fit'"),
        ({**FITTED, "resize": "stretch", "centred": True}, "resize 'stretch' never is"),
        ({**FITTED, "resize": "fill"}, "resize is 'fill'; this version knows 'letterbox'"),
    ],
)
def test_what_does_not_go_with_a_resize_is_refused(changes, words):
    """Nothing that would be ignored may stand in a manifest."""
    with pytest.raises(EdgeError, match=words):
        manifest_from_json({**NEW, "input": {**NEW["input"], **changes}}, source="test")


def test_what_a_picture_does_not_cover_has_a_colour():
    """Grey, or the mean where there is none, 0 to 255."""
    fitted = InputSpec(size=(8, 8), mean=(0.2, 0.4, 1.0), **FITTED)

    assert InputSpec(size=(8, 8), pad_value=7).pad_colour == (7, 7, 7)
    assert fitted.pad_colour == pytest.approx((51, 102, 255))
