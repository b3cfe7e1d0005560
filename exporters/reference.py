"""What the PyTorch model answers to probes: what a file is compared with."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from exporters.parity import ROUNDING_FACTOR, TOLERANCE, Raw
from exporters.probes import Image
from exporters.raw_layout import REGION_ROWS
from runtime_bench.artifact.boxes import iou
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

# Regions that overlap as much are the same one.
SAME_REGION = 0.99
# Which of two equals stays is a matter of rounding, even where PyTorch is of one mind.
FEW = 0.05

Answers = Mapping[str, NDArray[Any]]


class Reference:
    """A PyTorch model, and what it answers to each probe.

    One of two stages may look at other regions than the file does: which of two equals stays is
    a matter of rounding, and moves all that come after. So it is asked what it sees where the
    file looked, and whether it would have looked there is found out apart.
    """

    def __init__(self, module: nn.Module, probes: Mapping[str, Image]) -> None:
        self._probes = probes
        self._network = copy.deepcopy(module).eval()  # a head keeps what it made for one size
        self._in_64 = copy.deepcopy(module).eval().double()
        self.two_stages = hasattr(module, "at_regions")
        self.answers = self._asked(self._network, probes, torch.float32)
        self.exact = self._asked(self._in_64, probes, torch.float64)

    def beside(self, content: bytes, raw_name: str) -> tuple[Answers, Answers, dict[str, Any]]:
        """Return what a file is to be compared with, in 32 and in 64 bits, and figures.

        Args:
            content: An ONNX file that has the raw output, or computes it on its way.
            raw_name: What it calls the raw output.

        Raises:
            EdgeError: If its regions are not those that PyTorch proposes.
        """
        if not self.two_stages:
            return self.answers, self.exact, {}
        regions = self._regions_of(content, raw_name)
        figures = {"regions": self._compared(regions)}
        answers = self._asked(self._network, self._probes, torch.float32, regions)
        exact = self._asked(self._in_64, self._probes, torch.float64, regions)
        return answers, exact, figures

    def _regions_of(self, content: bytes, raw_name: str) -> dict[str, Raw]:
        """Return where a file looks on each probe, (R, 4)."""
        model = onnx.load_from_string(content)
        if raw_name not in {output.name for output in model.graph.output}:
            model.graph.output.append(onnx.ValueInfoProto(name=raw_name))
        session = open_session(model.SerializeToString(), SessionSettings())
        return {
            name: np.asarray(session.run(image)[raw_name], np.float32)[0, :REGION_ROWS].T
            for name, image in self._probes.items()
        }

    def _compared(self, regions: Mapping[str, Raw]) -> dict[str, float]:
        """Return which share of the regions PyTorch would not propose: the worst probe's."""
        worst = {"share_apart": 0.0, "limit": FEW}
        for name, found in regions.items():
            wanted = self.answers[name][:REGION_ROWS].T
            apart = _share_apart(found, wanted, partial(self._candidates, name))
            own = _share_apart(self.exact[name][:REGION_ROWS].T, wanted)
            limit = max(FEW, ROUNDING_FACTOR * own)
            if apart > limit:
                raise EdgeError(
                    f"the ONNX graph looks at other regions than the PyTorch model on probe "
                    f"'{name}': {apart:.3f} of them, more than {limit:.3f}; nothing was written"
                )
            if apart / limit >= worst["share_apart"] / worst["limit"]:
                worst = {"share_apart": apart, "limit": limit}
        return worst

    @torch.no_grad()
    def _candidates(self, name: str) -> NDArray[Any]:
        """Return what PyTorch may propose on a probe, (A, 5): a place, and what it scores."""
        image = torch.from_numpy(self._probes[name])
        found = self._network.candidates(image)[0]  # type: ignore[operator]
        candidates: NDArray[Any] = found.numpy()
        return candidates

    @staticmethod
    @torch.no_grad()
    def _asked(
        network: nn.Module,
        probes: Mapping[str, Image],
        dtype: torch.dtype,
        regions: Mapping[str, Raw] | None = None,
    ) -> dict[str, NDArray[Any]]:
        answers = {}
        for name, image in probes.items():
            inputs = torch.from_numpy(image).to(dtype)
            if regions is None:
                raw = network(inputs)
            else:
                there = torch.from_numpy(regions[name])[None].to(dtype)
                raw = network.at_regions(inputs, there)  # type: ignore[operator]
            answers[name] = raw[0].numpy()
        return answers


def _share_apart(
    regions: NDArray[Any],
    others: NDArray[Any],
    find_candidates: Callable[[], NDArray[Any]] | None = None,
) -> float:
    """Return which share of regions (R, 4) is none of the others.

    A candidate (A, 5) that scores as much as one of the others which overlaps it may stand in
    its place, and so may one that scores as much as the last of them: which of two equals goes
    first is nobody's rule.
    """
    regions, others = (one[one[:, 2] > one[:, 0]] for one in (regions, others))
    if not len(regions) or not len(others):
        return float(len(regions) != len(others))
    apart = iou(regions, others).max(axis=1) < SAME_REGION
    if find_candidates is not None and apart.any():
        candidates = find_candidates()
        tolerance = TOLERANCE * max(float(np.abs(candidates[:, 4]).max()), 1.0)
        scores, rivals = (_best_scores(some, candidates) for some in (regions[apart], others))
        equal = np.abs(scores[:, None] - rivals[None]) <= tolerance
        instead = iou(regions[apart], others) > 0
        instead[:, -1] = True  # they are sorted
        apart[apart] = ~(equal & instead).any(axis=1)
    return float(apart.mean())


def _best_scores(regions: NDArray[Any], candidates: NDArray[Any]) -> NDArray[Any]:
    """Return the highest score of the candidates that are each region; without any, NaN."""
    same = iou(regions, candidates[:, :4]) >= SAME_REGION
    scores = np.where(same, candidates[:, 4], -np.inf).max(axis=1)
    best: NDArray[Any] = np.where(np.isfinite(scores), scores, np.nan)
    return best
