"""What is kept of a view is found again, and never more than there is room for."""

from __future__ import annotations

import torch

from xprune.recovery.memory import Memory, put_together, taken_apart


def test_a_batch_taken_apart_goes_together_again():
    """In any order; 32 bits are kept in 16 and come back as 32."""
    batch = {
        "maps": torch.randn(3, 4, 5, 6).contiguous(memory_format=torch.channels_last),
        "scores": torch.randn(3, 7).bfloat16(),
    }

    entries = taken_apart(batch)
    again = put_together([entries[2], entries[0]])

    torch.testing.assert_close(again["maps"], batch["maps"][[2, 0]], rtol=1e-3, atol=1e-4)
    assert again["maps"].dtype == torch.float32
    assert again["maps"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(again["scores"], batch["scores"][[2, 0]])


def test_only_the_last_view_of_a_picture_is_known():
    """The one before it has made room."""
    memory = Memory(limit_bytes=16)
    first, second = {"x": torch.zeros(4)}, {"x": torch.ones(4)}

    memory.put(0, "first", first)
    memory.put(0, "second", second)

    assert memory.get(0, "first") is None
    assert memory.get(0, "second") is second
    assert memory.get(1, "second") is None


def test_what_finds_no_room_is_not_kept():
    """What was there before stays."""
    memory = Memory(limit_bytes=20)

    memory.put(0, "a", {"x": torch.zeros(4)})
    memory.put(1, "a", {"x": torch.zeros(4)})

    assert memory.get(0, "a") is not None
    assert memory.get(1, "a") is None
