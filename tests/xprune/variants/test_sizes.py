"""Which input sizes are worth a look: none that another one beats in both."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from runtime_bench.data.dataset import Picture
from xprune.variants.sizes import wanted_shapes, worthy_sizes

LANDSCAPE = (480, 640)
sizes = st.tuples(st.integers(1, 50), st.integers(1, 50))


@given(
    st.lists(sizes, min_size=1, max_size=6),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.floats(0.2, 1.0),
)
def test_they_are_the_front(
    pictures: list[tuple[int, int]], base: tuple[int, int], least: float
) -> None:
    """Held to the definition: each size against each."""
    found = worthy_sizes(base, 1, pictures, least=least, most=1.0)

    area = base[0] * base[1]
    longest = int(max(base) * 1.5)
    everything = [
        (height, width)
        for height in range(1, longest + 1)
        for width in range(1, longest + 1)
        if height * width <= area
    ]
    values = {size: (size[0] * size[1], _scale(size, pictures)) for size in everything}
    beaten = {
        size
        for size, (its_area, scale) in values.items()
        for other_area, other_scale in values.values()
        if (other_area < its_area and other_scale > scale * (1 - 1e-7))
        or (other_area == its_area and other_scale > scale * (1 + 1e-7))
    }
    front = [values[size] for size in set(everything) - beaten]
    wanted = sorted({its_area for its_area, _ in front if its_area >= least * area})
    assert not beaten & set(found)
    assert [h * w for h, w in found][::-1] == wanted


def test_landscape_pictures_get_landscape_inputs() -> None:
    """A square would be padded above and below."""
    found = worthy_sizes((320, 320), 32, [LANDSCAPE], least=0.5, most=1.0)

    assert found
    assert all(height <= width for height, width in found)
    assert (256, 320) in found or (256, 352) in found


def test_portrait_pictures_get_the_same_on_end() -> None:
    """Nothing prefers one side."""
    flat = worthy_sizes((320, 320), 32, [LANDSCAPE], least=0.4, most=1.0)
    tall = worthy_sizes((320, 320), 32, [LANDSCAPE[::-1]], least=0.4, most=1.0)

    assert [size[::-1] for size in tall] == flat


def test_shares_and_stride_are_kept_to() -> None:
    """Also where nothing is left."""
    found = worthy_sizes((320, 320), 32, [(100, 100), LANDSCAPE], least=0.3, most=0.8)

    assert all(side % 32 == 0 for size in found for side in size)
    assert all(0.3 <= h * w / 320**2 <= 0.8 for h, w in found)
    assert worthy_sizes((320, 320), 32, [LANDSCAPE], least=0.999, most=0.9995) == []


def test_a_shape_is_wanted_that_shows_what_the_network_knows() -> None:
    """The pictures' own, but where they are cropped or stretched to the input."""
    bare = np.zeros((0, 4), np.float32)
    none = np.zeros(0, int)
    pictures = [Picture("p", Path("p"), LANDSCAPE, bare, none, none.astype(bool))]

    assert wanted_shapes((300, 400), "letterbox", pictures) == [LANDSCAPE]
    assert wanted_shapes((300, 400), "fit", pictures) == [LANDSCAPE]
    assert wanted_shapes((300, 400), "crop", pictures) == [(1, 1)]
    assert wanted_shapes((300, 400), "stretch", pictures) == [(300, 400)]


def test_stretched_inputs_keep_the_shape_of_the_base() -> None:
    """Whatever shape the pictures have."""
    found = worthy_sizes((320, 320), 32, [(320, 320)], least=0.4, most=1.0)

    assert all(height == width for height, width in found)


def _scale(size: tuple[int, int], pictures: list[tuple[int, int]]) -> float:
    product = 1.0
    for height, width in pictures:
        product *= min(size[0] / height, size[1] / width)
    return product ** (1 / len(pictures))
