"""Pictures that are fitted in or stretched, as torchvision's detectors take them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.artifact.input_spec import RESIZES, InputSpec
from runtime_bench.artifact.preprocess import place, prepare, read_picture

SIDES = st.integers(1, 700)
INPUT_SIDES = st.integers(1, 20).map(lambda steps: steps * 32)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SSD300 = {"mean": (0.48235, 0.45882, 0.40784), "std": (1 / 255, 1 / 255, 1 / 255)}
DETECTORS = [("fit", IMAGENET), ("fit", SSD300), ("stretch", IMAGENET), ("stretch", SSD300)]
SHAPES = [
    (480, 640),
    (640, 427),
    (333, 500),
    (64, 96),
    (37, 53),
    (9, 7),
    (5, 300),
    (301, 6),
    (61, 3001),
]


def spec_of(size, resize, values):
    """How torchvision's detectors take a picture."""
    return InputSpec(size=size, resize=resize, **RESIZES[resize], **values)


def torchvisions(picture, spec):
    """Its own transform, and what it makes of a picture (H, W, 3): values and inner size.

    On one thread: PyTorch shares work out to several in a way that rounds the places between
    pixels otherwise, which moves values of 0 to 255 by up to 0.002.
    """
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    # Its least size is of the shorter side of a picture, whichever that is.
    ends = spec.size if picture.shape[0] <= picture.shape[1] else spec.size[::-1]
    transform = GeneralizedRCNNTransform(
        *ends,
        list(spec.mean),
        list(spec.std),
        size_divisible=1,
        fixed_size=spec.size[::-1] if spec.resize == "stretch" else None,
    ).eval()
    values = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float() / 255
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    images, _ = transform([values])
    torch.set_num_threads(threads)
    return transform, images.tensors[0].numpy(), images.image_sizes[0]


@pytest.mark.needs_torch
@pytest.mark.parametrize("picture_size", SHAPES)
@pytest.mark.parametrize("size", [(64, 64), (64, 96), (320, 256)])
@pytest.mark.parametrize(("resize", "values"), DETECTORS)
def test_a_picture_becomes_what_torchvisions_detectors_see(picture_size, size, resize, values):
    """Geometry and values, enlarged or reduced; beside the picture are zeros."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*picture_size, 3), dtype=np.uint8)
    spec = spec_of(size, resize, values)
    image, placement = prepare(picture, spec)

    _, wanted, inner = torchvisions(picture, spec)
    assert placement == place(picture_size, spec)
    assert (placement.left_px, placement.top_px, placement.inner_size) == (0, 0, inner)
    assert (image.shape, image.dtype, image.flags.c_contiguous) == ((3, *size), "float32", True)
    np.testing.assert_allclose(image[:, : inner[0], : inner[1]], wanted, rtol=0, atol=1e-4)
    assert not image[:, inner[0] :].any()
    assert not image[:, :, inner[1] :].any()


@pytest.mark.needs_torch
@pytest.mark.parametrize("size", [(320, 320), (480, 640)])
@pytest.mark.parametrize(("resize", "values"), DETECTORS)
def test_real_pictures_become_what_torchvisions_detectors_see(
    data_folder, size, resize, values
):
    """The same on photographs."""
    paths = sorted((data_folder / "coco_val" / "images").iterdir())[:6]
    spec = spec_of(size, resize, values)
    for path in paths:
        picture = read_picture(path)

        image, placement = prepare(picture, spec)

        _, wanted, inner = torchvisions(picture, spec)
        assert placement.inner_size == inner
        np.testing.assert_allclose(image[:, : inner[0], : inner[1]], wanted, rtol=0, atol=1e-4)


@pytest.mark.needs_torch
@given(
    picture_size=st.tuples(SIDES, SIDES),
    size=st.tuples(INPUT_SIDES, INPUT_SIDES),
    resize=st.sampled_from(["fit", "stretch"]),
)
def test_boxes_come_back_as_torchvision_brings_them(picture_size, size, resize):
    """Where a box of the input lies in the picture, by its `postprocess`."""
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    placement = place(picture_size, spec_of(size, resize, IMAGENET))
    rows, columns = placement.inner_size
    boxes = np.array([[0, 0, columns, rows], [columns / 3, rows / 4, columns / 2, rows]])

    transform = GeneralizedRCNNTransform(1, 1, [0.0], [1.0]).eval()
    (found,) = transform.postprocess(
        [{"boxes": torch.from_numpy(boxes)}], [placement.inner_size], [picture_size]
    )

    assert placement.to_picture(boxes) == pytest.approx(found["boxes"].numpy(), abs=1e-3)
    assert placement.to_input(found["boxes"].numpy()) == pytest.approx(boxes, abs=1e-2)


def test_a_very_thin_picture_keeps_one_pixel():
    """A tenth of a row would be none."""
    image, placement = prepare(
        np.full((1, 700, 3), 255, np.uint8), spec_of((64, 64), "fit", IMAGENET)
    )

    assert placement.inner_size == (1, 64)
    assert (image[:, 0] > 2).all()
    assert not image[:, 1:].any()
