"""Pictures in: against OpenCV and Ultralytics; boxes back: by the round trip."""

from __future__ import annotations

import contextlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runtime_bench.artifact import preprocess
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.preprocess import (
    letterbox,
    place,
    prepare,
    read_picture,
    rgb_pixels,
)
from runtime_bench.errors import EdgeError

SIDES = st.integers(1, 700)
INPUT_SIDES = st.integers(1, 20).map(lambda steps: steps * 32)


@pytest.fixture(scope="module")
def pixels():
    """A smooth picture with a different colour in every corner, (40, 60, 3)."""
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, 255 - rows * 3], axis=2).astype(np.uint8)


@pytest.mark.needs_torch
@given(picture=st.tuples(SIDES, SIDES), size=st.tuples(INPUT_SIDES, INPUT_SIDES))
def test_the_place_is_that_of_ultralytics(picture, size):
    """Padding and inner size for any picture and input, enlarged or reduced."""
    from ultralytics.data.augment import LetterBox

    expected = LetterBox(size, auto=False, scaleup=True).get_params(
        {"img": np.empty((*picture, 3), np.uint8)}
    )

    placement = place(picture, InputSpec(size=size))

    inner = placement.inner_size
    assert (placement.top_px, placement.left_px) == (expected["top"], expected["left"])
    assert inner == expected["new_unpad"][::-1]
    assert inner[0] + expected["top"] + expected["bottom"] == size[0]
    assert inner[1] + expected["left"] + expected["right"] == size[1]


@pytest.mark.needs_torch
@given(picture=st.tuples(SIDES, SIDES), size=st.tuples(INPUT_SIDES, INPUT_SIDES))
def test_boxes_come_back_as_with_ultralytics(picture, size):
    """The corners of the input and a box inside it, moved to the picture and cut there."""
    from ultralytics.utils.ops import scale_boxes

    height, width = size
    boxes = np.array(
        [[0, 0, width, height], [width / 3, height / 3, width / 2, height / 2]], np.float64
    )

    expected = scale_boxes(size, boxes.copy(), picture)

    placement = place(picture, InputSpec(size=size))
    assert placement.to_picture(boxes) == pytest.approx(expected, abs=1e-4)


@pytest.mark.needs_torch
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("scale_up", [True, False])
@pytest.mark.parametrize(
    "picture_size", [(480, 640), (333, 500), (37, 53), (1, 300), (301, 2), (320, 256)]
)
@pytest.mark.parametrize("size", [(320, 320), (256, 320), (64, 96)])
def test_the_image_is_that_of_ultralytics(picture_size, size, centred, scale_up):
    """The tensor that Ultralytics would feed, to the last bit."""
    import torch
    from ultralytics.data.augment import LetterBox

    picture = np.random.default_rng(0).integers(0, 256, (*picture_size, 3), np.uint8)
    boxed = LetterBox(size, auto=False, scaleup=scale_up, center=centred)(image=picture)
    expected = torch.from_numpy(boxed.transpose(2, 0, 1).copy()).float() / 255

    image, _ = letterbox(picture, InputSpec(size=size, centred=centred, scale_up=scale_up))

    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert np.array_equal(image, expected.numpy())


@given(
    picture=st.tuples(SIDES, SIDES),
    size=st.tuples(INPUT_SIDES, INPUT_SIDES),
    centred=st.booleans(),
    scale_up=st.booleans(),
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5),
)
def test_boxes_find_their_way_back(picture, size, centred, scale_up, corners):
    """A box inside the picture, moved to the input and back, is where it was."""
    height, width = picture
    boxes = np.array(corners, np.float64).reshape(-1, 4) * [width, height, width, height]
    placement = place(picture, InputSpec(size=size, centred=centred, scale_up=scale_up))

    # The input holds positions as float32: a few millionths of its side, in picture pixels.
    tolerance_px = 1e-6 * max(size) * max(picture) / min(placement.inner_size) + 1e-4
    assert placement.to_picture(placement.to_input(boxes)) == pytest.approx(
        boxes, abs=tolerance_px
    )


def test_boxes_are_cut_at_the_edges_of_the_picture():
    """What the detector saw in the grey border is no part of the picture."""
    placement = place((50, 100), InputSpec(size=(64, 64)))

    assert placement.to_picture([[-9, -9, 99, 99]]).tolist() == [[0, 0, 100, 50]]


def test_mean_and_std_are_applied_per_channel(pixels):
    """`(value * scale - mean) / std`, red first, as torchvision does it."""
    spec = InputSpec(size=(40, 60), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    image, _ = letterbox(pixels, spec)

    expected = (pixels / 255.0 - np.array(spec.mean)) / np.array(spec.std)
    assert image == pytest.approx(expected.transpose(2, 0, 1), abs=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_orientation_is_applied_as_opencv_does(tmp_path, pixels, orientation, extension):
    """All eight ways to hold a camera, against `cv2.imread`."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra `prune`")
    path = tmp_path / f"picture.{extension}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if extension == "jpg" else {"lossless": True}
    Image.fromarray(pixels).save(path, exif=exif, **options)

    picture = read_picture(path)

    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path, pixels, mode):
    """Grey, palette, alpha, CMYK and 16 bits, against `cv2.imread`."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra `prune`")
    path = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    if mode == "I;16":
        grey = pixels[:, :, 0].astype(np.uint16) * 256 + 200
        Image.fromarray(grey).save(path)
    elif mode in ("LA", "RGBA"):
        image = Image.fromarray(pixels)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.convert(mode).save(path)
    else:
        Image.fromarray(pixels).convert(mode).save(path)

    picture = read_picture(path)

    expected = cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert picture.dtype == np.uint8
    assert picture.shape == (40, 60, 3)
    assert np.abs(picture.astype(int) - expected).max() <= 3


def test_values_without_a_known_range_are_refused(tmp_path):
    """A float TIFF has no white; the error says what to do."""
    path = tmp_path / "depth.tiff"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(path)

    with pytest.raises(EdgeError, match=r"'.*depth\.tiff' has 32 bits a pixel"):
        read_picture(path)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp", "gif"])
def test_a_truncated_picture_is_named(tmp_path, extension):
    """Half a file is an error with its name, not half a picture."""
    generator = np.random.default_rng(0)
    path = tmp_path / f"half.{extension}"
    Image.fromarray(generator.integers(0, 256, (60, 60, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(
        EdgeError, match=rf"'.*half\.{extension}' (cannot be read|is no picture)"
    ):
        read_picture(path)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "tiff"])
@given(seed=st.integers(0, 10**6))
def test_a_damaged_picture_gives_pixels_or_an_error_of_ours(tmp_path_factory, extension, seed):
    """Whatever bytes are changed, nothing else than an `EdgeError` comes out."""
    generator = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("damaged") / f"picture.{extension}"
    Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    for place_of_damage in generator.integers(0, len(data), 5):
        data[place_of_damage] = generator.integers(0, 256)
    path.write_bytes(bytes(data))

    # A damaged size may be huge: below the real limit, but slow to fill for a test.
    small = mock.patch.object(preprocess, "MAX_PIXELS", 10_000)
    with small, contextlib.suppress(EdgeError):
        assert read_picture(path).dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.jpg", None, "does not exist; name a picture"),
        ("text.jpg", b"not a picture", "is no picture that can be read"),
        ("empty.png", b"", "is no picture that can be read"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, name, content, problem):
    """Missing, other content, empty; and PostScript, which would run a program."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(EdgeError, match=problem) as caught:
        read_picture(path)

    assert str(caught.value).startswith(f"'{path}' ")


def test_an_absurdly_large_picture_is_refused(tmp_path):
    """A small file that would fill the memory is refused by its header alone."""
    path = tmp_path / "huge.png"
    Image.new("1", (20_000, 10_000)).save(path)

    with pytest.raises(EdgeError, match=r"huge\.png' has more than 178956970 pixels"):
        read_picture(path)


@pytest.mark.needs_torch
def test_ultralytics_does_not_change_how_pictures_are_read(tmp_path):
    """Its version of `Image.open` would install a package for a file that is no picture."""
    import ultralytics.utils  # noqa: F401  # what it replaces, it replaces on import

    (tmp_path / "text.jpg").write_text("not a picture")

    with pytest.raises(EdgeError, match="is no picture that can be read"):
        read_picture(tmp_path / "text.jpg")


def test_a_folder_is_no_picture(tmp_path):
    """A folder is refused in one line as well."""
    with pytest.raises(EdgeError, match="cannot be read as a picture: is a directory"):
        read_picture(tmp_path)


def test_pixels_of_an_image_in_memory(pixels):
    """A Pillow image without a file gives the same pixels."""
    assert np.array_equal(rgb_pixels(Image.fromarray(pixels)), pixels)


@pytest.mark.needs_torch
@pytest.mark.parametrize("picture_size", [(256, 256), (300, 501), (777, 401), (31, 90), (9, 7)])
@pytest.mark.parametrize(("size", "shorter_px"), [(224, 256), (64, 64), (224, 232)])
def test_a_crop_is_torchvisions(picture_size, size, shorter_px):
    """The preset of its classifiers: resize, crop the middle, then mean and deviation."""
    from torchvision.transforms._presets import ImageClassification

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*picture_size, 3), dtype=np.uint8)
    preset = ImageClassification(crop_size=size, resize_size=shorter_px)
    spec = InputSpec(
        size=(size, size),
        resize="crop",
        antialias=True,
        shorter_px=shorter_px,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )

    image, placement = prepare(picture, spec)

    wanted = preset(Image.fromarray(picture)).numpy()
    np.testing.assert_allclose(image, wanted, atol=1e-6)
    # The middle of what the model sees is the middle of the picture, to a pixel of the input.
    middle = placement.to_picture([[size / 2 - 1, size / 2 - 1, size / 2 + 1, size / 2 + 1]])[0]
    height, width = picture_size
    step = min(picture_size) / shorter_px
    assert abs(middle[[0, 2]].mean() - width / 2) <= step
    assert abs(middle[[1, 3]].mean() - height / 2) <= step


def test_a_thin_picture_is_not_blown_up():
    """One row of many pixels would become a hundred million of them."""
    spec = InputSpec(size=(224, 224), resize="crop", antialias=True, shorter_px=256)

    with pytest.raises(EdgeError, match="10000 x 1 px is too thin"):
        prepare(np.zeros((1, 10_000, 3), np.uint8), spec)
