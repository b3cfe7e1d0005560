"""Input sizes that hit a latency with no layer touched, rectangles included."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime_bench.dataset import Picture
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from xprune.frontier.arms import Made, Method
from xprune.frontier.ground import Ground

SIZES_FOLDER = "sizes"
RATIO_FILE = "latency_ratio.json"
# A ratio this far from the budget, as a share of it, still counts as the budget.
ABOVE, BELOW = 0.02, 0.06
# Sizes whose latency is guessed from their area are tried within this of the budget.
GUESS = 0.08
# A side may be this much longer than the unpruned model's.
LONGEST = 1.25
SHORTEST = 0.4
# A size that shows pictures this much smaller than another one of the same area is left out.
FIT = 0.95

Size = tuple[int, int]


def input_method(precision: str = "float32") -> Method:
    """Return the method that runs the unpruned model on smaller and rectangular inputs.

    Its weights stay as they were trained: it is what one flag gives.
    """

    def build(ground: Ground, budget: float, folder: Path) -> list[Made]:
        del folder  # an artifact of a size serves several budgets
        sizes = SizeTimes(ground, precision)
        return [
            Made(artifact=sizes.artifact(size), imgsz=size, precision=precision)
            for size in sizes.near(budget)
        ]

    words = "the trained weights on a smaller or rectangular input"
    return Method(words if precision == "float32" else f"{words}, in {precision}", build)


def knobs_method(precisions: Sequence[str]) -> Method:
    """Return the method that turns every knob but layers: size, precision, rewrites.

    What keeps most on the calibration pictures is taken, and recovered like any other.

    Args:
        precisions: To choose from.
    """

    def build(ground: Ground, budget: float, folder: Path) -> list[Made]:
        choices = []
        for precision in precisions:
            sizes = SizeTimes(ground, precision)
            try:
                choices += [
                    (precision, size, sizes.artifact(size)) for size in sizes.near(budget)
                ]
            except EdgeError as error:
                ground.say(f"{precision}: {error}")
        if not choices:
            raise EdgeError(f"no input size takes {budget:g} of the latency")
        agreements = [ground.agreement(path, size) for _, size, path in choices]
        precision, size, _ = choices[int(np.argmax(agreements))]
        bench = ground.workbench(folder / "run", imgsz=size, precision=precision)
        network, facts = ground.recovered(bench, bench.detector.network, folder)
        artifact = ground.ship(bench, network, folder / "artifact")
        more = {"chosen_from": len(choices), "agreement": max(agreements)}
        return [Made(artifact, size, precision, recovered=facts, more=more)]

    return Method(
        "size, precision and rewrites, no layer touched", build, {"precisions": [*precisions]}
    )


class SizeTimes:
    """Artifacts of the unpruned model at other sizes, and their latencies.

    Attributes:
        precision: Of the artifacts.
    """

    def __init__(self, ground: Ground, precision: str) -> None:
        self._ground = ground
        self.precision = precision

    def near(self, budget: float) -> dict[Size, float]:
        """Return the sizes that take the budget or just less, with their latency ratios.

        Raises:
            EdgeError: If there is none; the message names the nearest ones.
        """
        bench = self._ground.bench
        sizes = likely_sizes(
            bench.size, bench.detector.stride, list(bench.sets.calibration.pictures)
        )
        self.ratio(bench.size)  # what all guesses begin with
        for _ in range(3):  # each measured size mends the guesses
            for size in sizes:
                if abs(self._guess(size) / budget - 1) <= GUESS:
                    self.ratio(size)
        known = {size: self.ratio(size) for size in sizes if self._is_known(size)}
        found = {
            size: ratio
            for size, ratio in known.items()
            if (1 - BELOW) * budget <= ratio <= (1 + ABOVE) * budget
        }
        if not found:
            nearest = sorted(known, key=lambda size: abs(known[size] / budget - 1))[:3]
            words = ", ".join(f"{h}x{w} with {known[h, w]:.3f}" for h, w in nearest)
            raise EdgeError(f"no input size takes {budget:g} of the latency; nearest: {words}")
        return found

    def artifact(self, size: Size) -> Path:
        """Return the artifact of the unpruned model at a size, made now if it is not there."""
        ground = self._ground
        bench = ground.workbench(
            self._folder(size) / "run", imgsz=size, precision=self.precision
        )
        return ground.ship(bench, bench.detector.network, self._folder(size) / "artifact")

    def ratio(self, size: Size) -> float:
        """Return its latency as a share of the unpruned model's, timed once."""
        path = self._folder(size) / RATIO_FILE
        if not path.exists():
            ratio = self._ground.latency_ratio(self.artifact(size), size)
            self._ground.say(f"{size[0]}x{size[1]} takes {ratio:.3f} of the latency")
            write_json(path, ratio)
        known = read_json(path)
        if not isinstance(known, int | float):
            raise EdgeError(f"{path} does not hold a ratio; remove it")
        return float(known)

    def _guess(self, size: Size) -> float:
        """Return the latency ratio by the areas of the sizes that are known."""
        sizes = self._all_known()
        areas = np.array([h * w for h, w in sizes], float)
        ratios = np.array([self.ratio(known) for known in sizes])
        area = size[0] * size[1]
        if len(set(areas.tolist())) < 3:
            nearest = int(np.argmin(np.abs(areas - area)))
            return float(ratios[nearest] * area / areas[nearest])
        slope, start = np.polyfit(areas, ratios, 1)
        return float(slope * area + start)

    def _all_known(self) -> list[Size]:
        folder = self._ground.folder / SIZES_FOLDER / self.precision
        names = [path.parent.name for path in sorted(folder.glob(f"*/{RATIO_FILE}"))]
        sizes = [name.split("x") for name in names]
        return [(int(height), int(width)) for height, width in sizes]

    def _is_known(self, size: Size) -> bool:
        return (self._folder(size) / RATIO_FILE).exists()

    def _folder(self, size: Size) -> Path:
        name = f"{size[0]}x{size[1]}"
        return self._ground.folder / SIZES_FOLDER / self.precision / name


def likely_sizes(base: Size, stride: int, pictures: Sequence[Picture]) -> list[Size]:
    """Return the sizes worth a try: no other one of the same area shows pictures larger.

    Args:
        base: The unpruned model's (height, width) in pixels.
        stride: Sides are multiples of it.
        pictures: Of the kind that the model is to see.
    """
    sides = [range(stride, int(side * LONGEST) // stride * stride + 1, stride) for side in base]
    sizes = [
        (height, width)
        for height, width in itertools.product(*sides)
        if height >= SHORTEST * base[0] and width >= SHORTEST * base[1]
    ]
    shown = {size: shown_scale(size, pictures) for size in sizes}
    return [
        size
        for size in sizes
        if all(
            shown[size] >= FIT * shown[other]
            for other in sizes
            if other[0] * other[1] <= size[0] * size[1]
        )
    ]


def shown_scale(size: Size, pictures: Sequence[Picture]) -> float:
    """Return how large a size shows pictures in the mean: input pixels for one of theirs."""
    sides = np.array([picture.size for picture in pictures], float)
    return float(np.minimum(size[0] / sides[:, 0], size[1] / sides[:, 1]).mean())
