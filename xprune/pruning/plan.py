"""The plan: which layers go, what takes their place, and why; made to be edited by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from xprune.attribution.scores import Scores
from xprune.layers.candidates import Candidate, nested
from xprune.layers.substitutes import SUBSTITUTES, applicable
from xprune.pruning.knapsack import Option, choose, most_saved_s
from xprune.pruning.latency_table import LatencyTable
from xprune.pruning.options import parents_of, timed_options

FORMAT = "xprune-edge plan"
VERSION = 1


@dataclass(frozen=True)
class Request:
    """How much is to go: exactly one of the four is set.

    Attributes:
        speedup: Latency before over latency after.
        latency_s: Latency after, in seconds.
        layers: Number of candidates.
        fraction: Share of the convolutions, the seed paper's rule.
    """

    speedup: float | None = None
    latency_s: float | None = None
    layers: int | None = None
    fraction: float | None = None

    def wanted_speedup(self, base_s: float) -> float | None:
        """Return the speed-up that is asked for, if time is what is asked for."""
        return base_s / self.latency_s if self.latency_s is not None else self.speedup

    def __str__(self) -> str:
        """Return the request as a person would type it."""
        if self.speedup is not None:
            return f"--speedup {self.speedup:g}"
        if self.latency_s is not None:
            return f"--latency-ms {self.latency_s * 1000:g}"
        return f"--layers {self.layers}" if self.layers else f"--fraction {self.fraction:g}"


@dataclass(frozen=True)
class Choice:
    """One layer that goes.

    Attributes:
        layer: Its name.
        type: Its class.
        substitute: What takes its place.
        score: Its importance by the plan's criterion; None when a person named it.
        saved_s: Seconds that this saves by the latency table; None without a table.
        share: The same as a share of the whole network's time.
        reason: Why it was chosen, in words.
    """

    layer: str
    type: str
    substitute: str
    score: float | None
    saved_s: float | None
    share: float | None
    reason: str


@dataclass(frozen=True)
class NextSlower:
    """The plan next to the one that was chosen, which loses less and is too slow.

    Attributes:
        choices: Layer and substitute of each of its choices; none for the unpruned network.
        measured_speedup: What it delivered.
        reason: Why it was not chosen, in words.
    """

    choices: tuple[tuple[str, str], ...]
    measured_speedup: float
    reason: str


@dataclass(frozen=True)
class PrunePlan:
    """Layers that go, in the order in which they run.

    Attributes:
        criterion: What importance was measured by.
        asked: What was asked for.
        choices: The layers.
        base_latency_s: Latency of the unpruned network, the median.
        predicted_speedup: What the latency table promises.
        measured_speedup: What the exported plan delivered, both timed in turn.
        measured_interval: Its 95 % confidence interval.
        search: How the plan was looked for: `none` if by the scores alone.
        evaluations: Plans that the search tried; None without one.
        search_seconds: That it took.
        fitness: How far the plan moves the outputs of the unpruned model, and
        fitness_of_scores: how far the plan that the scores alone give moves them.
        rounds: Steps in which the saving was reached, the layers scored anew in each.
        next_slower: The plan that misses what was asked by the least, where one was timed.
        machine: The machine that the latency table is of, where that is another one; the plan
            was not timed then.
    """

    criterion: str
    asked: Request
    choices: tuple[Choice, ...]
    base_latency_s: float | None = None
    predicted_speedup: float | None = None
    measured_speedup: float | None = None
    measured_interval: tuple[float, float] | None = None
    search: str = "none"
    evaluations: int | None = None
    search_seconds: float | None = None
    fitness: float | None = None
    fitness_of_scores: float | None = None
    rounds: int = 1
    next_slower: NextSlower | None = None
    machine: str | None = None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Layer and substitute of each choice: what tells plans apart."""
        return tuple((choice.layer, choice.substitute) for choice in self.choices)

    @property
    def promised_s(self) -> float:
        """Seconds that the choices save by the latency table."""
        return sum(choice.saved_s or 0.0 for choice in self.choices)


def plan_by_time(
    scores: Scores,
    table: LatencyTable,
    *,
    criterion: str,
    substitute: str,
    asked: Request,
    wanted_s: float,
) -> PrunePlan:
    """Take the layers whose loss is least for a saving of `wanted_s` by the latency table.

    Raises:
        EdgeError: If all layers together do not save that much.
    """
    parents = parents_of(scores)
    options = list(timed_options(scores, table, criterion, substitute))
    chosen = choose(parents, options, wanted_s)
    if chosen is None:
        most = table.base_s / max(table.base_s - most_saved_s(parents, options), 1e-9)
        raise EdgeError(
            f"{asked} is not reachable: with the substitute '{substitute}' all layers together "
            f"give {most:.2f} at most by the latency table; ask for less or use --imgsz"
        )
    return plan_of_options(
        scores, table, chosen, criterion=criterion, asked=asked, options=options
    )


def plan_of_options(
    scores: Scores,
    table: LatencyTable,
    chosen: Sequence[Option],
    *,
    criterion: str,
    asked: Request,
    options: Sequence[Option],
) -> PrunePlan:
    """Return the plan of the chosen options, with the reason for each.

    Args:
        scores: From `attribute`.
        table: What `options` save was taken from.
        chosen: Options in the order in which their layers run.
        criterion: What their costs are.
        asked: What was asked for.
        options: All that could have been chosen.
    """
    prices = sorted(_price(option) for option in options if option.saved_s > 0)
    choices = [
        replace(
            choice_of(scores, option, _reason(option, criterion, prices, table.base_s)),
            saved_s=option.saved_s,
            share=option.saved_s / table.base_s,
        )
        for option in chosen
    ]
    left_s = max(table.base_s - sum(option.saved_s for option in chosen), 1e-9)
    return PrunePlan(criterion, asked, tuple(choices), table.base_s, table.base_s / left_s)


def write_plan(path: Path, plan: PrunePlan) -> None:
    """Write `plan.json`."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(plan)})


def read_plan(path: Path, candidates: Iterable[Candidate]) -> PrunePlan:
    """Read `plan.json`, also one edited by hand: layer and substitute are enough.

    Raises:
        EdgeError: If it is missing or malformed, or names what does not fit this network.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EdgeError(f"{path} is not a plan; `xprune-edge plan` writes one")
    if document.get("version") != VERSION:
        raise EdgeError(f"{path} has version {document.get('version')}; remove it")
    known = {candidate.name: candidate for candidate in candidates}
    entries = document.get("choices")
    if not isinstance(entries, list) or not isinstance(document.get("asked"), dict):
        raise EdgeError(f"{path} has no list of 'choices' or no 'asked'; plan again")
    choices = [_read_choice(path, entry, known) for entry in entries]
    for choice in choices:
        if any(other is not choice and nested(choice.layer, other.layer) for other in choices):
            raise EdgeError(
                f"{path} names '{choice.layer}' twice, or a layer around it; keep one"
            )
    interval = document.get("measured_interval")
    try:
        return PrunePlan(
            criterion=str(document["criterion"]),
            asked=_read_request(document["asked"]),
            choices=tuple(choices),
            base_latency_s=_number(document.get("base_latency_s")),
            predicted_speedup=_number(document.get("predicted_speedup")),
            measured_speedup=_number(document.get("measured_speedup")),
            measured_interval=(float(interval[0]), float(interval[1])) if interval else None,
            search=str(document.get("search", "none")),
            evaluations=_whole(document.get("evaluations")),
            search_seconds=_number(document.get("search_seconds")),
            fitness=_number(document.get("fitness")),
            fitness_of_scores=_number(document.get("fitness_of_scores")),
            rounds=_whole(document.get("rounds")) or 1,
            next_slower=_read_next_slower(document.get("next_slower")),
            machine=None if document.get("machine") is None else str(document["machine"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise EdgeError(f"{path} lacks or misspells {error}; correct it") from error


def with_measured(plan: PrunePlan, speedup: float, interval: tuple[float, float]) -> PrunePlan:
    """Return the plan with what its export delivered."""
    return replace(plan, measured_speedup=speedup, measured_interval=interval)


def choice_of(scores: Scores, option: Option, reason: str) -> Choice:
    """Return a choice that saves nothing known yet."""
    types = {candidate.name: candidate.type for candidate in scores.candidates}
    return Choice(
        layer=option.layer,
        type=types[option.layer],
        substitute=option.substitute,
        score=option.cost,
        saved_s=None,
        share=None,
        reason=reason,
    )


def _price(option: Option) -> float:
    return option.cost / option.saved_s


def _reason(option: Option, criterion: str, prices: Sequence[float], base_s: float) -> str:
    rank = sum(price < _price(option) for price in prices) + 1
    return (
        f"saves {option.saved_s / base_s:.1%} of the time for {criterion} {option.cost:.3g}: "
        f"number {rank} of {len(prices)} in least importance per time saved"
    )


def _read_request(entry: Mapping[str, object]) -> Request:
    asked = {name: _number(value) for name, value in entry.items()}
    given = {name: value for name, value in asked.items() if value is not None}
    layers = given.pop("layers", None)
    request = Request(**given, layers=None if layers is None else int(layers))
    if len(given) + (layers is not None) != 1:
        raise ValueError("'asked', which holds exactly one of its four wishes")
    return request


def _read_next_slower(entry: object) -> NextSlower | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise ValueError("'next_slower', which is an object")
    return NextSlower(
        choices=tuple((str(layer), str(name)) for layer, name in entry["choices"]),
        measured_speedup=float(entry["measured_speedup"]),
        reason=str(entry["reason"]),
    )


def _read_choice(path: Path, entry: object, known: Mapping[str, Candidate]) -> Choice:
    if not isinstance(entry, dict):
        raise EdgeError(f"{path} has a choice that is no object: {str(entry)[:60]}")
    layer, substitute = entry.get("layer"), entry.get("substitute")
    if not isinstance(layer, str) or layer not in known:
        raise EdgeError(
            f"{path} names the layer '{layer}', which is no candidate; see `layers`"
        )
    fits = substitute in tuple(SUBSTITUTES) and applicable(known[layer], str(substitute))
    if not fits:
        raise EdgeError(f"{path}: '{layer}' cannot be replaced by '{substitute}'; see `layers`")
    return Choice(
        layer=layer,
        type=known[layer].type,
        substitute=str(substitute),
        score=_number(entry.get("score")),
        saved_s=_number(entry.get("saved_s")),
        share=_number(entry.get("share")),
        reason=str(entry.get("reason", "named by hand")),
    )


def _whole(value: object) -> int | None:
    return value if type(value) is int else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
