"""Solve the substitutes of all candidates on one set of pictures.

What a regression needs is summed up once for all substitutes of a layer that look at the same
things, and the sums over inputs once for all layers that read the same feature map. They are
large, so layers are solved in groups: more passes over the pictures instead of more memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import nn

from xprune.layers.candidates import Candidate
from xprune.layers.fit import add_samples, fit, is_solvable, moment_bytes, new_moments, view_of
from xprune.layers.hooks import placed
from xprune.layers.moments import Moments, Samples, View, sampled_outputs
from xprune.layers.substitutes import Replacement, applicable, build, replacement
from xprune.layers.substitutes.thin import Elimination, thin_out

# Moments of a 3x3 window of 256 channels take 42 MiB, and their factor as much again.
MOMENT_BYTES = 192 << 20

# A layer that is watched, and how its inputs are looked at.
Key = tuple[str, View]


@dataclass(frozen=True)
class _Job:
    """One substitute to solve: itself, or the convolutions inside that read thinner chains."""

    wanted: Replacement
    module: nn.Module
    looks: dict[Key, nn.Module]

    @property
    def bytes(self) -> int:
        return sum(moment_bytes(module) for module in self.looks.values())


@dataclass
class _Sums:
    """The moments of one group, and which of them share their inputs."""

    moments: dict[Key, Moments | Samples]
    looks: Mapping[Key, nn.Module]
    called_once: Mapping[str, bool]
    readers: dict[tuple[int, View], tuple[weakref.ref[torch.Tensor], Key]] = field(
        default_factory=dict
    )
    leaders: dict[Key, Key] = field(default_factory=dict)

    def collect(self, layer: str, x: torch.Tensor, y: torch.Tensor) -> None:
        wanted = sampled_outputs(y)
        for key, module in self.looks.items():
            if key[0] == layer:
                alone = self._leader(key, x) == key
                add_samples(self.moments[key], module, x, wanted, inputs_too=alone)

    def _leader(self, key: Key, x: torch.Tensor) -> Key:
        """Return who sums up this map: the first layer that read it in the first batch."""
        if key not in self.leaders:
            self.leaders[key] = key
            mine, seen = self.moments[key], self.readers.get((id(x), key[1]))
            if isinstance(mine, Moments) and self.called_once.get(key[0], False):
                if seen is not None and seen[0]() is x:
                    theirs = self.moments[seen[1]]
                    assert isinstance(theirs, Moments)
                    mine.share_inputs(theirs)
                    self.leaders[key] = seen[1]
                else:
                    self.readers[id(x), key[1]] = (weakref.ref(x), key)
        return self.leaders[key]


def solve_substitutes(
    network: nn.Module,
    candidates: Sequence[Candidate],
    wanted: str,
    *,
    batches: int,
    forward: Callable[[int], object],
    steps: Callable[[int], Callable[[], object]],
) -> tuple[dict[str, dict[str, nn.Module]], dict[str, dict[str, float]]]:
    """Return for each candidate its applicable substitutes, solved.

    Args:
        network: In eval mode.
        candidates: The layers.
        wanted: As `applicable` takes it.
        batches: Number of batches.
        forward: Runs a batch by its index.
        steps: Told the number of steps, returns what is called after each.

    Returns:
        The modules, and for each solved one the share of the output's variance that it misses.
    """
    jobs = [
        _job(network, replacement(candidate, name))
        for candidate in candidates
        for name in applicable(candidate, wanted)
    ]
    groups = _groups(jobs)
    done = steps(len(groups) * batches)
    called_once = {candidate.name: len(candidate.input_shapes) == 1 for candidate in candidates}
    errors: dict[str, dict[str, float]] = {}
    for group in groups:
        looks = {key: module for job in group for key, module in job.looks.items()}
        sums = _Sums({k: new_moments(m) for k, m in looks.items()}, looks, called_once)
        with torch.no_grad(), _collecting(network, sums):
            for batch in range(batches):
                forward(batch)
                done()
        eliminations: dict[Key, Elimination] = {}
        for job in group:
            error = _solve(network.get_submodule(job.wanted.layer), job, sums, eliminations)
            errors.setdefault(job.wanted.layer, {})[job.wanted.substitute] = error
    modules: dict[str, dict[str, nn.Module]] = {c.name: {} for c in candidates}
    for job in jobs:
        modules[job.wanted.layer][job.wanted.substitute] = job.module
    return modules, errors


def _job(network: nn.Module, wanted: Replacement) -> _Job:
    layer = network.get_submodule(wanted.layer)
    weight = next(layer.parameters(), next(network.parameters()))
    module = build(wanted, layer).to(weight.dtype)
    if wanted.chains:
        names = [f"{wanted.layer}.{chain.reader}" for chain in wanted.chains]
        readers = {name: network.get_submodule(name) for name in names}
        return _Job(wanted, module, {(n, view_of(r)): r for n, r in readers.items()})
    looks = {(wanted.layer, view_of(module)): module} if is_solvable(module) else {}
    return _Job(wanted, module, looks)


def _groups(jobs: Sequence[_Job]) -> list[list[_Job]]:
    """Return the jobs that need pictures, in groups whose moments fit into memory at once."""
    groups: list[list[_Job]] = []
    keys: set[Key] = set()
    used_bytes = 0
    for job in jobs:
        if not job.looks:
            continue
        more = {key: module for key, module in job.looks.items() if key not in keys}
        used_bytes += sum(moment_bytes(module) for module in more.values())
        if not groups or used_bytes > MOMENT_BYTES:
            groups.append([])
            keys, used_bytes = set(), job.bytes
        groups[-1].append(job)
        keys.update(job.looks)
    return groups


def _solve(
    layer: nn.Module, job: _Job, sums: _Sums, eliminations: dict[Key, Elimination]
) -> float:
    if not job.wanted.chains:
        (key,) = job.looks
        return fit(job.module, sums.moments[key])
    # Copies of several widths, and those around one another, let the same channels go.
    for key, reader in job.looks.items():
        moments = sums.moments[key]
        assert isinstance(moments, Moments) and isinstance(reader, nn.Conv2d)  # noqa: PT018
        if key not in eliminations:
            eliminations[key] = Elimination(moments, reader)
    wanted = [eliminations[key] for key in job.looks]
    return thin_out(job.module, layer, job.wanted.chains, wanted)[1]


def _collecting(network: nn.Module, sums: _Sums) -> AbstractContextManager[None]:
    return placed(
        network.get_submodule(layer).register_forward_hook(
            lambda module, args, output, layer=layer: sums.collect(layer, args[0], output)
        )
        for layer in dict.fromkeys(layer for layer, _ in sums.looks)
    )
