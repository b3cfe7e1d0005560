"""Which rewrites are faster here? Each is timed in turn with the graph without it.

What pays depends on the processor, its caches, onnxruntime's kernels and the size of the
picture, so nothing is taken from a table. One after the other is put on top of those that were
kept; it stays if it finds a place and the whole 95 % interval says that it is faster.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.rewrites import REWRITES, run_rewrites
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import Comparison
from runtime_bench.timing.latency import Clock
from runtime_bench.timing.openings import Opener, compare_opened

Image = NDArray[np.float32]
Compare = Callable[[Opener, Opener], Comparison]


@dataclass(frozen=True)
class Trial:
    """One rewrite on top of those that were kept before it.

    Attributes:
        name: A key of `REWRITES`.
        places: How many places it changed; it was not timed if there are none.
        ratio: How many times as fast the graph is with it; 1 where it was not timed.
        interval: The 95 % interval of `ratio`.
        kept: Whether it stays.
    """

    name: str
    places: int
    ratio: float = 1.0
    interval: tuple[float, float] = (1.0, 1.0)
    kept: bool = False


def keep_faster(
    model: onnx.ModelProto,
    images: Sequence[Image],
    *,
    session: SessionSettings,
    names: Iterable[str] = tuple(REWRITES),
    compare: Compare | None = None,
    lower: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda model: model,
    on_trial: Callable[[str], object] = lambda name: None,
) -> tuple[Trial, ...]:
    """Try rewrites one after the other, and say which are faster.

    Args:
        model: The graph as it ships but for rewrites; it is not changed.
        images: Inputs (1, 3, height, width) of real pictures: what follows the choice of
            candidates depends on what is to be seen.
        session: How onnxruntime runs.
        names: Keys of `REWRITES`, in the order in which they are tried.
        compare: Opens two graphs and times them in turn; None for some seconds of the clock
            that suits.
        lower: Brings a rewritten graph to the precision that ships.
        on_trial: Called with a rewrite's name before it is tried.
    """
    compare = compare or _comparer(session)
    kept: list[str] = []
    best = _opener(lower(model), images, session)
    trials = []
    for name in names:
        on_trial(name)
        rewritten, places = run_rewrites(model, [*kept, name])
        if name not in places:
            trials.append(Trial(name, 0))
            continue
        candidate = _opener(lower(rewritten), images, session)
        comparison = compare(best, candidate)
        is_faster = comparison.interval[0] > 1
        trials.append(
            Trial(name, places[name], comparison.ratio, comparison.interval, is_faster)
        )
        if is_faster:
            kept.append(name)
            best = candidate
    return tuple(trials)


def clock_for(session: SessionSettings) -> Clock:
    """Return the clock that suits a choice between graphs.

    A graph on one thread is timed by the processor time of this process, which other programs
    disturb less; with more threads only the wall clock says how long one waits.
    """
    return time.process_time if session.threads == 1 else time.perf_counter


def _comparer(session: SessionSettings) -> Compare:
    """Return what times for a second or two."""
    return partial(
        compare_opened,
        min_rounds=80,
        min_time_s=1.5,
        max_time_s=12.0,
        clock=clock_for(session),
    )


def _opener(
    model: onnx.ModelProto, images: Sequence[Image], session: SessionSettings
) -> Opener:
    """Return what opens the model, for calls that run it on the next of the images."""
    content = model.SerializeToString()

    def opened() -> Callable[[], object]:
        runner = open_session(content, session)
        endless = itertools.cycle(images)
        return lambda: runner.run(next(endless))

    return opened
