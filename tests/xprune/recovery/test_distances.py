"""Feature distances against NumPy, number by number."""

from __future__ import annotations

import numpy as np
import torch

from xprune.recovery.distances import feature_distances


def test_the_error_is_in_variances_of_each_channel():
    """By loops: squared, over the channel's variance, averaged over all of a picture."""
    generator = torch.Generator().manual_seed(0)
    wanted = [torch.randn(3, 4, 5, 6, generator=generator) * 3, torch.rand(3, 2, 2, 3)]
    found = [level + 0.5 * torch.randn(level.shape, generator=generator) for level in wanted]

    distances = feature_distances(found, wanted)

    expected = np.zeros(3)
    for aim, got in zip(wanted, found, strict=True):
        variances = np.array([np.var(aim[:, c].numpy()) for c in range(aim.shape[1])])
        for picture in range(3):
            parts = [
                np.mean((got[picture, c] - aim[picture, c]).numpy() ** 2)
                / (variances[c] + 1e-3 * variances.mean())
                for c in range(aim.shape[1])
            ]
            expected[picture] += np.mean(parts) / len(wanted)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)


def test_nothing_moved_is_zero_also_where_nothing_varies():
    """A constant map has no variance to divide by."""
    maps = [torch.ones(2, 3, 4, 4)]

    assert feature_distances(maps, maps).tolist() == [0, 0]


def test_a_level_of_another_width_does_not_count():
    """Only what can be compared is; where nothing can, nothing moved."""
    generator = torch.Generator().manual_seed(0)
    narrow, wide, other = (torch.randn(2, c, 4, 4, generator=generator) for c in (5, 8, 8))

    both = feature_distances([narrow, other], [wide, wide])

    assert torch.equal(both, feature_distances([other], [wide]))
    assert feature_distances([narrow], [wide]).tolist() == [0, 0]
