"""What a run came to, in one sentence and four figures that need no prior knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xprune.explain import wording
from xprune.explain.wording import number_at
from xprune.summary import figures_of

_ARROW = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True)
class Tile:
    """One figure of the headline, with what it is and what stands behind it."""

    label: str
    figure: str
    detail: str


@dataclass(frozen=True)
class Headline:
    """The top of the report."""

    model: str
    title: str
    sentence: str
    tiles: tuple[Tile, ...]


def headline(summary: Mapping[str, Any], *, removed: int, candidates: int) -> Headline:
    """Word the outcome.

    Args:
        summary: What `summary.json` holds.
        removed: Number of layers that went.
        candidates: Number of layers that could have gone; 0 when not known.
    """
    model = wording.text_of(wording.look_up(summary, "model", "name"))
    key, name = figures_of(summary)[0]
    speedup = number_at(summary, "speedup")
    return Headline(
        model=model,
        title=f"{model}: {_short(speedup)}",
        sentence=" ".join(
            part
            for part in (_layers(removed, candidates), _input(summary), _outcome(summary))
            if part
        ),
        tiles=(
            Tile("Speed-up", wording.ratio(speedup), _speedup_detail(summary)),
            Tile(
                "Accuracy kept",
                wording.share(_kept(summary)),
                f"{name} {_from_to(summary, key, 3)}",
            ),
            _latency_tile(summary),
            Tile(
                "Layers removed",
                str(removed),
                f"of {candidates} that could go" if candidates else wording.MISSING,
            ),
        ),
    )


def _short(speedup: float | None) -> str:
    return "report" if speedup is None else f"{wording.ratio(speedup)} as fast"


def _layers(removed: int, candidates: int) -> str:
    if removed == 0:
        return "No layer was removed."
    all_of = f" of {candidates}" if candidates else ""
    verb = "was" if removed == 1 else "were"
    noun = "layer" if removed == 1 and not all_of else "layers"
    return f"{removed}{all_of} {noun} {verb} replaced by something cheaper."


def _input(summary: Mapping[str, Any]) -> str:
    """Say that the input has another size; nothing where it has not."""
    sizes = [wording.items_at(summary, "model", name) for name in ("imgsz", "base_imgsz")]
    if not all(sizes) or sizes[0] == sizes[1]:
        return ""
    now, before = ("×".join(map(wording.text_of, size)) for size in sizes)
    return f"Its input is {now} pixels, not {before}."


def _outcome(summary: Mapping[str, Any]) -> str:
    speed, accuracy = _speed(summary), _accuracy(summary)
    clauses = " and ".join(clause for clause in (speed, accuracy) if clause)
    gaps = [
        name for name, clause in (("speed", speed), ("accuracy", accuracy)) if clause is None
    ]
    sentences = [f"The result {clauses}."] if clauses else []
    if gaps:
        sentences.append(f"No figure for {' or '.join(gaps)} was measured.")
    return " ".join(sentences)


def _speed(summary: Mapping[str, Any]) -> str | None:
    speedup = number_at(summary, "speedup")
    ends = wording.ends_at(summary, "speedup_interval")
    if speedup is None:
        return None
    if ends is not None and ends[0] <= 1 <= ends[1]:
        return "runs neither faster nor slower than the original, as far as could be shown,"
    return f"runs {wording.fixed(speedup, 2)} times as fast as the original"


def _accuracy(summary: Mapping[str, Any]) -> str | None:
    kept = _kept(summary)
    if kept is None:
        before = number_at(summary, "before", figures_of(summary)[0][0])
        found_nothing = before is not None and before <= 0
        return "had nothing to keep: the original finds nothing" if found_nothing else None
    if kept >= 1:
        return "loses no accuracy on the test pictures"
    return f"keeps {wording.share(kept)} of its accuracy"


def _speedup_detail(summary: Mapping[str, Any]) -> str:
    """Word the interval, and how much of the speed costs no accuracy."""
    free = number_at(summary, "speedup_rewrites")
    words = _interval_words(summary)
    if free is None or not wording.items_at(summary, "rewrites"):
        return words
    return f"{words}; {wording.ratio(free)} of it by rewrites that change no detection"


def _interval_words(summary: Mapping[str, Any]) -> str:
    words = wording.interval_at(summary, "speedup_interval")
    if words == wording.MISSING:
        return "no interval"
    return f"{wording.share(0.95)} interval {words}"


def _kept(summary: Mapping[str, Any]) -> float | None:
    key, _ = figures_of(summary)[0]
    before, after = number_at(summary, "before", key), number_at(summary, "after", key)
    return None if before is None or after is None or before <= 0 else after / before


def _from_to(summary: Mapping[str, Any], key: str, digits: int) -> str:
    before, after = number_at(summary, "before", key), number_at(summary, "after", key)
    if before is None and after is None:
        return wording.NOT_MEASURED
    return f"{wording.fixed(before, digits)} {_ARROW} {wording.fixed(after, digits)}"


def _latency_tile(summary: Mapping[str, Any]) -> Tile:
    before_s, after_s = (
        number_at(summary, side, "latency_s", "p50") for side in ("before", "after")
    )
    figure = wording.MISSING if after_s is None else f"{wording.milliseconds(after_s)} ms"
    if before_s is None:
        return Tile("Time per picture", figure, wording.NOT_MEASURED)
    return Tile("Time per picture", figure, f"median; was {wording.milliseconds(before_s)} ms")
