"""Torch-Pruning as methods of a frontier: tuned to a latency, then recovered like ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from tests.benchmarks.peers.channels import channel_pruner, channels_of
from xprune.frontier.arms import Made, Method
from xprune.frontier.ground import Ground, copy_if_there
from xprune.stages.baseline import BASELINE_FOLDER
from xprune.stages.timing import Stopwatch

# How near to the budget, as a share of it, a share of channels is looked for.
NEAR = 0.008
ALLOWED = 0.02
FURTHEST = 0.1
HALVINGS = 8
# Shares are tried in such steps, up to the largest.
STEP, MOST = 0.15, 0.9
# Layers keep a multiple of so many channels: few, where many cannot be fast enough.
ROUND_TO = (8, 4)
# After the recovery other boxes are found, so NMS takes another time: then once more.
MOST_RECOVERED = 2


def torch_pruning_method(importance: str, *, precision: str = "float32") -> Method:
    """Return the method that prunes channels globally until the latency is what is wanted."""

    def build(ground: Ground, budget: float, folder: Path) -> list[Made]:
        # The networks are timed in the precision in which they ship.
        bench = ground.workbench(folder / "run", imgsz=ground.bench.size, precision=precision)
        copy_if_there(ground.base, bench.run.file(BASELINE_FOLDER))
        whole = channel_pruner(bench, importance, ROUND_TO[0])
        clock = Stopwatch(bench)

        def ratio_of(round_to: int, share: float) -> float:
            pruned = replace(whole, round_to=round_to).pruned(share)
            return _raw_ratio(clock, bench.raw_graph(pruned))

        wanted, tries = budget, []
        for number in range(1, MOST_RECOVERED + 1):
            place = folder / f"try-{number}"
            round_to, share = _kept(
                place / "cut.json", partial(find_cut, ratio_of, wanted, ground.say)
            )
            pruner = replace(whole, round_to=round_to)
            # Without a cut the layers are the detector's own; the pruner split some of them.
            pruned = pruner.pruned(share) if share else bench.detector.network
            network, facts = ground.recovered(bench, pruned, place)
            artifact = ground.ship(bench, network, place / "artifact")
            ratio = ground.latency_ratio(artifact, bench.size)
            ground.say(f"{share:.4f} of the channels less: {ratio:.3f} of the latency")
            made = Made(
                artifact=artifact,
                imgsz=bench.size,
                precision=precision,
                removed=_thinned(pruner.network, pruned) if share else [],
                recovered=facts,
                more={
                    "channel_share": share,
                    "channels": [channels_of(pruner.network), channels_of(pruned)],
                    "round_to": round_to,
                },
            )
            tries.append((abs(ratio / budget - 1), made))
            if tries[-1][0] <= ALLOWED or not share:
                break
            wanted *= budget / ratio
        return [min(tries, key=lambda one: one[0])[1]]

    label = f"channels by group-{importance} (Torch-Pruning)"
    facts = {"importance": importance, "round_to": ROUND_TO[0], "precision": precision}
    return Method(label, build, facts)


def find_cut(
    ratio_of: Callable[[int, float], float], wanted: float, say: Callable[[str], None]
) -> tuple[int, float]:
    """Return of what layers keep a multiple, and the share of channels to remove.

    Args:
        ratio_of: Times what is left of the latency with these two.
        wanted: A share of the latency.
        say: Tells a person what was tried.

    Raises:
        EdgeError: If nothing in reach leaves as little.
    """
    found = []
    for round_to in ROUND_TO:
        say(f"Looking for {wanted:.3f} of the latency, multiples of {round_to} channels")
        share, ratio = find_share(partial(ratio_of, round_to), wanted, say)
        found.append((abs(ratio / wanted - 1) if share else 0.0, round_to, share))
        if found[-1][0] <= ALLOWED:
            break
    off, round_to, share = min(found)
    if off > FURTHEST:
        raise EdgeError(f"no share of channels leaves {wanted:.3f} of the latency")
    return round_to, share


def find_share(
    ratio_of: Callable[[float], float], wanted: float, say: Callable[[str], None]
) -> tuple[float, float]:
    """Return the share of channels whose removal leaves what is nearest, and what it leaves.

    In steps up to the first that leaves no more than is wanted, then by bisection within that
    step. Further up the latency may rise again: Torch-Pruning passes over layers that would
    lose too much.

    Args:
        ratio_of: Times what is left of the latency once a share of the channels is gone.
        wanted: A share of the latency.
        say: Tells a person what was tried.
    """
    ratio = ratio_of(0.0)
    if ratio <= wanted * (1 + NEAR):
        say(f"All channels stay: {ratio:.3f} of the latency, wanted {wanted:.3f}")
        return 0.0, ratio
    tried: dict[float, float] = {}

    def off(share: float) -> float:
        return abs(tried[share] / wanted - 1)

    def is_slower(share: float) -> bool:
        tried[share] = ratio_of(share)
        say(
            f"{share:.4f} of the channels less: {tried[share]:.3f} of the latency, wanted "
            f"{wanted:.3f}"
        )
        return tried[share] > wanted

    slow, fast = 0.0, STEP
    while is_slower(fast) and fast < MOST:
        slow, fast = fast, min(fast + STEP, MOST)
    for _ in range(HALVINGS if tried[fast] <= wanted else 0):
        if off(min(tried, key=off)) <= NEAR:
            break
        share = (slow + fast) / 2
        slow, fast = (share, fast) if is_slower(share) else (slow, share)
    best = min(tried, key=off)
    return best, tried[best]


def _raw_ratio(clock: Stopwatch, raw_graph: bytes) -> float:
    """Return the latency ratio of a graph as it ships; what NMS adds is the unpruned model's.

    Before its recovery a network answers with nonsense, on which NMS takes its time.
    """
    return 1 / clock.shipped(*clock.raw_latency_s(raw_graph)).speedup


def _kept(path: Path, find: Callable[[], tuple[int, float]]) -> tuple[int, float]:
    """Return what was found already, so that a stopped recovery finds the same network."""
    if not path.exists():
        write_json(path, find())
    found = read_json(path)
    assert isinstance(found, list)
    round_to, share = found
    return int(round_to), float(share)


def _thinned(before: nn.Module, after: nn.Module) -> list[dict[str, object]]:
    """Return the convolutions that lost channels, with how many they had and have."""
    left = {
        name: layer.out_channels
        for name, layer in after.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    return [
        {"layer": name, "channels": [layer.out_channels, left[name]]}
        for name, layer in before.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.out_channels != left[name]
    ]


PEERS = {
    "torch_pruning_l1": torch_pruning_method("l1"),
    "torch_pruning_taylor": torch_pruning_method("taylor"),
    "torch_pruning_l1_int8": torch_pruning_method("l1", precision="int8"),
    "torch_pruning_taylor_int8": torch_pruning_method("taylor", precision="int8"),
}
