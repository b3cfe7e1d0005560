"""Solve the weights of a cut network, from input to output, without labels or training.

One walk through the cut network: when it reaches a substitute, or a convolution or linear
layer that stays, its weights are solved by ridge regression so that its output comes as close
as it can to what the same place gave in the unpruned network. The walk goes on with the new
weights, so each layer also makes up for the errors of those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from xprune.layers.fit import add_samples, fit, is_solvable, new_moments
from xprune.layers.hooks import placed
from xprune.layers.moments import Moments, Samples, sampled_outputs
from xprune.layers.substitutes import SOLVED, Zero
from xprune.recovery.norms import sole_norms
from xprune.recovery.thin import thin_layers

Run = Callable[[nn.Module, torch.Tensor], object]

# Pictures that the unpruned network is run on at once.
BATCH = 16


class _WalkAgain(Exception):  # noqa: N818 - it is no error
    """A layer that runs several times was solved; those after it need another walk."""


def refit(
    original: nn.Module,
    cut: nn.Module,
    images: torch.Tensor,
    *,
    run: Run,
    layers: Sequence[str],
    on_solved: Callable[[str], object] = lambda layer: None,
) -> dict[str, float]:
    """Solve `layers` of `cut` in place, in the order in which they run.

    Args:
        original: The unpruned network, in eval mode.
        cut: The network after `apply_plan`; thinner copies get their channels here.
        images: All pictures at once, (P, 3, H, W); memory grows with P.
        run: Runs a network on pictures.
        layers: From `solvable_layers`.
        on_solved: Called with each layer's name when it is solved, for progress.

    Returns:
        For each solved layer the share of its output's variance that it still misses.
    """
    with torch.no_grad():
        kept = thin_layers(original, cut, images, run=run, batch=BATCH)
        targets = _observe(original, layers, images, run)
        for name in kept.keys() & targets.keys():
            targets[name] = [outputs[:, :, kept[name]] for outputs in targets[name]]
        norms = sole_norms(original, layers, lambda: run(original, images[:1]))
        walk = _Walk(cut, targets, norms, on_solved)
        return walk.finish(lambda: run(cut, images))


def solvable_layers(cut: nn.Module, removed: Iterable[str], *, convolutions: bool) -> list[str]:
    """Return the layers of `cut` that a refit can solve.

    Args:
        cut: The network after `apply_plan`.
        removed: The layers that are substitutes now.
        convolutions: Whether the convolutions that stay are wanted as well.
    """
    substitutes = set(removed)
    inside = tuple(f"{name}." for name in substitutes)
    # A thinner copy is no module of ours, but convolutions that are fewer than they were.
    thinner = tuple(
        f"{name}."
        for name in substitutes
        if not isinstance(cut.get_submodule(name), (*SOLVED, Zero, nn.Identity))
    )
    return [
        name
        for name, module in cut.named_modules()
        if is_solvable(module)
        and (
            name in substitutes
            or name.startswith(thinner)
            or (convolutions and not name.startswith(inside))
        )
    ]


def _observe(
    network: nn.Module, layers: Sequence[str], images: torch.Tensor, run: Run
) -> dict[str, list[torch.Tensor]]:
    """Return the sampled outputs (P, S, C) of each call of each layer that runs at all."""
    batches: dict[str, list[list[torch.Tensor]]] = {name: [] for name in layers}

    def keep(name: str, output: torch.Tensor) -> None:
        if output.ndim in (2, 4):  # a linear layer may run on rows of tokens: left as it is
            batches[name][-1].append(sampled_outputs(output))

    keepers = (
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: keep(name, output)
        )
        for name in layers
    )
    with placed(keepers):
        for start in range(0, len(images), BATCH):
            for calls in batches.values():
                calls.append([])
            run(network, images[start : start + BATCH])
    return {
        name: [torch.cat(call) for call in zip(*calls, strict=True)]
        for name, calls in batches.items()
        if calls[0]
    }


class _Walk:
    """Walks through the cut network until every layer is solved."""

    def __init__(
        self,
        cut: nn.Module,
        targets: dict[str, list[torch.Tensor]],
        norms: dict[str, str],
        on_solved: Callable[[str], object],
    ) -> None:
        self.modules = dict(cut.named_modules())
        self.targets = targets
        self.norms = norms
        self.on_solved = on_solved
        self.errors: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self.moments: dict[str, Moments | Samples] = {}
        self.waiting: str | None = None

    def finish(self, run: Callable[[], object]) -> dict[str, float]:
        reaching = (
            self.modules[name].register_forward_pre_hook(
                lambda module, args, name=name: self._reach(name, module, args[0])
            )
            for name in self.targets
        )
        with placed(reaching):
            while len(self.errors) < len(self.targets):
                self.calls.clear()
                try:
                    run()
                except _WalkAgain:
                    continue
                if self.waiting is None:
                    break  # what is left runs no more
                # It runs fewer times now, and which calls are gone is not known: left as it is.
                del self.targets[self.waiting]
                self.waiting = None
        return self.errors

    def _reach(self, name: str, layer: nn.Module, x: torch.Tensor) -> None:
        # While a layer waits for its other calls, what runs in between sees its old weights.
        done = name in self.errors or name not in self.targets
        if done or self.waiting not in (None, name):
            return
        call = self.calls.get(name, 0)
        self.calls[name] = call + 1
        targets = self.targets[name]
        if call == 0:
            self.moments[name] = new_moments(layer)
        add_samples(self.moments[name], layer, x, targets[call])
        if call + 1 < len(targets):
            self.waiting = name
            return
        self.waiting = None
        self.errors[name] = fit(layer, self.moments.pop(name), norm=self._norm(name))
        self.on_solved(name)
        if len(targets) > 1:
            raise _WalkAgain

    def _norm(self, name: str) -> nn.BatchNorm2d | None:
        # In the cut network it may be gone, with the block that it is in.
        norm = self.modules.get(self.norms.get(name, ""))
        return norm if isinstance(norm, nn.BatchNorm2d) else None
