"""What the substitutes that see a window have in common."""

from __future__ import annotations

from xprune.layers.moments import Window

# Relative to the mean squared input, as `moments.RIDGE`.
WINDOW_RIDGE = 1e-3


def centred_window(kernel: tuple[int, int], stride: tuple[int, int]) -> Window:
    """Return the window of odd sides that gives ceil(size / stride) output pixels."""
    assert all(side % 2 for side in kernel)
    return Window(kernel, stride, (kernel[0] // 2, kernel[1] // 2))
