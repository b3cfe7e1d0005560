"""Input sizes that hit a latency with no layer touched, rectangles included."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from xprune.frontier.arms import Made, Method
from xprune.frontier.ground import Ground
from xprune.variants.sizes import wanted_shapes

SIZES_FOLDER = "sizes"
RATIO_FILE = "latency_ratio.json"
# A ratio this far from the budget, as a share of it, still counts as the budget.
ABOVE, BELOW = 0.02, 0.06
# Sizes whose latency is guessed from their area are tried within this of the budget.
GUESS = 0.07
MOST_MENDED = 6
# A side may be this much longer than the unpruned model's.
LONGEST = 1.5
SHORTEST = 0.4
# A step is a fortieth of the base at least: where any side will do, most sizes tell no more
# than their neighbours.
STEPS = 40
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
        choices = _choices(ground, budget, precisions)
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


def _choices(
    ground: Ground, budget: float, precisions: Sequence[str]
) -> list[tuple[str, Size, Path]]:
    """Return precision, size and artifact of what is fast enough, else of the fastest."""
    found = []
    for precision in precisions:
        sizes = SizeTimes(ground, precision)
        try:
            near = sizes.near(budget)
        except EdgeError as error:  # of a precision that is not faster here
            ground.say(f"{precision}: {error}")
            continue
        found += [
            (ratio, (precision, size, sizes.artifact(size))) for size, ratio in near.items()
        ]
    if not found:
        raise EdgeError(f"no precision of {', '.join(precisions)} can be had here")
    most = max((1 + ABOVE) * budget, min(ratio for ratio, _ in found))
    return [choice for ratio, choice in found if ratio <= most]


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

        Where there is none, the nearest one above and the nearest one below.
        """
        bench = self._ground.bench
        pictures = bench.sets.calibration.pictures
        shapes = wanted_shapes(bench.size, bench.spec.resize, pictures)
        likely = likely_sizes(bench.size, bench.detector.stride, shapes)
        sizes = [size for size in likely if bench.takes(size)]
        self.ratio(bench.size)  # what all guesses begin with
        known: dict[Size, float] = {}
        for _ in range(MOST_MENDED):  # each measured size mends the guesses
            before = len(known)
            for size in self._promising(sizes, budget):
                known[size] = self.ratio(size)
            if len(known) == before:
                break
        found = {
            size: ratio
            for size, ratio in known.items()
            if (1 - BELOW) * budget <= ratio <= (1 + ABOVE) * budget
        }
        return found or dict(_around(list(known.items()), budget))

    def _promising(self, sizes: Sequence[Size], budget: float) -> list[Size]:
        """Return the sizes whose guess is near the budget, and the nearest on either side."""
        guesses = [(size, self._guess(size)) for size in sizes]
        near = [size for size, guess in guesses if abs(guess / budget - 1) <= GUESS]
        return near + [size for size, _ in _around(guesses, budget)]

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

    def _folder(self, size: Size) -> Path:
        name = f"{size[0]}x{size[1]}"
        return self._ground.folder / SIZES_FOLDER / self.precision / name


def _around(sizes: Sequence[tuple[Size, float]], budget: float) -> list[tuple[Size, float]]:
    """Return the nearest size above a budget and the nearest one below, as far as there are."""
    above = [entry for entry in sizes if entry[1] > budget]
    below = [entry for entry in sizes if entry[1] <= budget]
    ends = [min(above, key=_ratio, default=None), max(below, key=_ratio, default=None)]
    return [entry for entry in ends if entry is not None]


def _ratio(entry: tuple[Size, float]) -> float:
    return entry[1]


def likely_sizes(base: Size, stride: int, pictures: Sequence[Size]) -> list[Size]:
    """Return the sizes worth a try: no other one of the same area shows pictures larger.

    Args:
        base: The unpruned model's (height, width) in pixels.
        stride: Sides are multiples of it.
        pictures: The sizes (height, width) of such as the model is to see.
    """
    step = -(-min(base) // (STEPS * stride)) * stride
    sides = [range(step, int(side * LONGEST) // step * step + 1, step) for side in base]
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


def shown_scale(size: Size, pictures: Sequence[Size]) -> float:
    """Return how large a size shows pictures in the mean: input pixels for one of theirs."""
    sides = np.array(pictures, float)
    return float(np.minimum(size[0] / sides[:, 0], size[1] / sides[:, 1]).mean())
