"""A plan is taken when it delivers as it ships, whatever NMS makes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runtime_bench.errors import EdgeError
from xprune.pruning.plan import Choice, PrunePlan, Request
from xprune.stages import timed_plan as module
from xprune.stages.timed_plan import free_plan, plan_for_other_machine, timed_plan
from xprune.stages.timing import Stopwatch, Timing

ASKED = Request(speedup=1.25)
BASE_S, RAW_S = 0.020, 0.018
# Plans that promise 0.25 ms, 0.5 ms, ... of the raw network's 18 ms.
PROMISES = [0.00025 * step for step in range(1, 41)]


def a_plan(promised_s: float) -> PrunePlan:
    """A plan whose one layer is called after what it promises."""
    name = f"l{promised_s * 1e6:.0f}"
    choice = Choice(name, "Conv", "linear", 1.0, promised_s, promised_s / RAW_S, "made up")
    return PrunePlan("fisher", ASKED, (choice,), RAW_S)


def propose(wanted_s: float) -> PrunePlan:
    """The plan that promises just enough."""
    for promised_s in PROMISES:
        if promised_s >= wanted_s:
            return a_plan(promised_s)
    raise EdgeError("not reachable")


class Clock:
    """A stopwatch of a made-up machine: plans save a share of what they promise."""

    base_s, raw_s = BASE_S, RAW_S
    shipped = Stopwatch.shipped

    def __init__(self, share: float = 0.9, nms_s: float = 0.002, free_s: float = 0.0) -> None:
        self.share, self.nms_s = share, nms_s
        self.extra_s = BASE_S - RAW_S - free_s
        self.free = BASE_S / (RAW_S + self.extra_s)
        self.free_interval = (self.free, self.free)
        self.solved: list[float] = []

    def raw_latency_s(self, made: PrunePlan) -> tuple[float, float]:
        return RAW_S - self.share * made.promised_s, 1e-6

    def finished(self, made: PrunePlan, latency_s: float) -> Timing:
        self.solved.append(made.promised_s)
        self.extra_s = self.nms_s
        speedup = BASE_S / (latency_s + self.nms_s)
        return Timing(speedup, (speedup, speedup))


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plan with a clock; returns the plan and what was said."""

    def run(clock: Clock, recover: str = "refit") -> tuple[PrunePlan, list[str]]:
        said: list[str] = []
        monkeypatch.setattr(module._Trials, "_cut", lambda self, made: made)
        solve = lambda bench, scores, made: (SimpleNamespace(network=made), {})  # noqa: E731
        monkeypatch.setattr(module, "prune_detector", solve)
        bench: Any = SimpleNamespace(
            say=said.append,
            raw_graph=lambda network: network,
            run=SimpleNamespace(config=SimpleNamespace(criterion="fisher", recover=recover)),
        )
        scores: Any = SimpleNamespace(candidates=())
        table: Any = SimpleNamespace(base_s=RAW_S)
        made = free_plan(bench, clock, ASKED) or timed_plan(
            bench, scores, clock, table, ASKED, propose=propose
        )
        return made, said

    return run


def test_the_plan_that_just_delivers_is_taken(planned):
    """It was solved and timed as it ships, and it is the first one that is fast enough."""
    clock = Clock()

    made, _ = planned(clock)

    enough = [p for p in PROMISES if BASE_S / (BASE_S - 0.9 * p) >= 1.25 * 1.005]
    assert made.promised_s == enough[0]
    assert clock.solved == [enough[0]]
    assert made.measured_speedup == pytest.approx(BASE_S / (BASE_S - 0.9 * enough[0]))
    assert made.base_latency_s == BASE_S


@pytest.mark.parametrize("nms_s", [0.0005, 0.004])
def test_a_plan_is_corrected_for_what_nms_makes_of_it(planned, nms_s):
    """A flood of candidates, or fewer than before: it delivers, with little excess."""
    clock = Clock(nms_s=nms_s)

    made, _ = planned(clock)

    assert len(clock.solved) > 1
    assert 1.25 <= made.measured_speedup <= 1.25 * 1.005 * 1.03


def test_a_plan_whose_shipping_wins_more_than_was_asked_is_taken(planned):
    """By that no layer would have to go, but the unpruned model was timed, and missed."""
    made, _ = planned(Clock(nms_s=-0.003))

    assert made.choices
    assert made.measured_speedup > 1.25 * 1.03


def test_what_nms_makes_of_a_plan_is_not_asked_before_it_is_trained(planned):
    """A training ends the flood of candidates; what NMS takes of the unpruned model counts."""
    clock = Clock(nms_s=0.004)

    made, _ = planned(clock, recover="distill")

    assert clock.solved == []
    assert made.promised_s == planned(Clock())[0].promised_s


def test_the_next_slower_plan_is_told(planned, monkeypatch):
    """Where plans are few, the excess is explained by the plan that misses."""
    monkeypatch.setitem(globals(), "PROMISES", [0.003, 0.007])

    made, said = planned(Clock())

    slower = made.next_slower
    assert made.promised_s == 0.007
    assert slower is not None
    assert slower.choices == (("l3000", "linear"),)
    assert slower.measured_speedup == pytest.approx(BASE_S / (BASE_S - 0.0027))
    assert slower.reason == (
        "the next slower plan (with linear for l3000 and without linear for l7000) gives "
        "1.156, which misses --speedup 1.25"
    )
    assert said[-1] == f"The plan gives 1.460, more than --speedup 1.25: {slower.reason}"


def test_nothing_goes_where_rewrites_are_enough(planned):
    """The plan is empty, and measured."""
    made, said = planned(Clock(free_s=0.006))

    assert made.choices == ()
    assert made.measured_speedup == pytest.approx(0.020 / 0.014)
    assert "no layer has to go" in said[-1]


def test_free_time_counts(planned):
    """With half of it free, a plan for the other half is enough."""
    without, _ = planned(Clock())
    with_free, _ = planned(Clock(free_s=0.002, nms_s=0.0))

    assert with_free.promised_s < 0.6 * without.promised_s
    assert with_free.measured_speedup >= 1.25


def test_what_is_never_reached_is_an_error(planned):
    """It says how far the plans got."""
    with pytest.raises(EdgeError, match=r"--speedup 1.25 was not reached: .* gave 1\.\d\d"):
        planned(Clock(share=0.2))


def test_a_flood_of_candidates_is_an_error_of_its_own(planned):
    """What a plan lost to NMS is more than all layers save: it says what was timed."""
    with pytest.raises(EdgeError, match=r"--speedup 1.25 was not reached: of \d+ plans"):
        planned(Clock(nms_s=0.030))


@pytest.mark.parametrize(("rewritten_s", "least_s"), [(None, 0.004), (0.018, 0.002)])
def test_another_machine_is_taken_at_its_word(rewritten_s, least_s):
    """What ships there counts, free time included; nothing is claimed to be measured."""
    table: Any = SimpleNamespace(base_s=RAW_S, shipped_s=BASE_S, rewritten_s=rewritten_s)
    bench: Any = SimpleNamespace(
        say=lambda line: None, run=SimpleNamespace(config=SimpleNamespace(criterion="fisher"))
    )

    made = plan_for_other_machine(bench, table, ASKED, propose=propose, machine="a Pi")

    assert made.promised_s == pytest.approx(least_s)
    assert made.predicted_speedup == pytest.approx(1.25)
    assert (made.measured_speedup, made.machine) == (None, "a Pi")
