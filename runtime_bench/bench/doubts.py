"""Why a measurement may not hold, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runtime_bench.machine.readings import Reading
from runtime_bench.timing.latency import LatencySamples

LEAST_RUNS = 50
# Shares of the median: on a quiet device times drift and spread by less than 1 %.
DRIFT = 0.03
SPREAD = 0.05
WARMER_C = 5.0
SLOWER_CLOCK = 0.05
# Shares of one processor.
OTHERS = 0.1
STOLEN = 0.01
MEMORY_LEFT = 0.05


@dataclass(frozen=True)
class Doubt:
    """Something that makes a figure doubtful, and what to do about it."""

    what: str
    hint: str


def doubts_of(
    latency: LatencySamples,
    readings: Sequence[Reading],
    *,
    machine: dict[str, object],
    threads: int,
) -> tuple[Doubt, ...]:
    """Return what speaks against a measurement; nothing that is not known is a doubt.

    Args:
        latency: The times of the model alone.
        readings: Of the machine, before, during and after.
        machine: What `describe_machine` says of it.
        threads: Threads inside one operation.
    """
    doubts = [*_of_times(latency), *_of_setting(machine, threads)]
    if len(readings) >= 2:
        doubts += [*_of_heat(readings), *_of_clocks(readings), *_of_load(readings, machine)]
    return tuple(doubts)


def _of_times(latency: LatencySamples) -> Iterator[Doubt]:
    found, runs = latency.statistics, len(latency.timed_s)
    if runs < LEAST_RUNS:
        yield Doubt(f"only {runs} runs were timed", f"--min-runs {LEAST_RUNS}, or more")
    if latency.warmup_s and not latency.is_warm:
        yield Doubt("times had not settled when timing began", "a longer --min-time")
    if found.drift is not None and abs(found.drift) > DRIFT:
        way = "slower" if found.drift > 0 else "faster"
        yield Doubt(
            f"it became {abs(found.drift):.0%} {way} from the first third to the last",
            "--sustained shows where it settles",
        )
    if found.mad > SPREAD * found.p50:
        yield Doubt(
            f"times spread by {found.mad / found.p50:.0%} around the median",
            "stop what else runs, and compare by `xprune-edge compare` alone",
        )


def _of_setting(machine: dict[str, object], threads: int) -> Iterator[Doubt]:
    governor, cores = machine.get("governor"), machine.get("cores_available")
    if governor not in (None, "performance"):
        yield Doubt(
            f"the governor is {governor}: clocks change while it measures",
            "sudo cpupower frequency-set -g performance (Jetson: sudo jetson_clocks)",
        )
    if isinstance(cores, int) and threads > cores:
        yield Doubt(f"{threads} threads share {cores} processors", f"--threads {cores}")


def _of_heat(readings: Sequence[Reading]) -> Iterator[Doubt]:
    cool = "cool it, or use another power supply, and measure again"
    active = {name for one in readings for name in one.throttling or ()}
    before, after = (one.throttled_since_start or () for one in (readings[0], readings[-1]))
    names = sorted(active | (set(after) - set(before)))
    if names:
        yield Doubt(f"slowed down while it measured: {', '.join(names)}", cool)
    events = _grown(readings, lambda one: one.throttle_events)
    if events:
        yield Doubt(f"over-current or heat stepped in {events:g} times", cool)
    first_c, last_c = readings[0].temperature_c, readings[-1].temperature_c
    if first_c is not None and last_c is not None and last_c - first_c >= WARMER_C:
        yield Doubt(
            f"it warmed up from {first_c:.0f} to {last_c:.0f} degrees Celsius",
            "--sustained measures until it is as hot as it becomes",
        )


def _of_clocks(readings: Sequence[Reading]) -> Iterator[Doubt]:
    clocks_hz = [one.frequency_hz for one in readings if one.frequency_hz is not None]
    # The first reading is of a machine that waits: its clock may be low, and says nothing.
    if len(clocks_hz) >= 3:
        most_hz, last_hz = max(clocks_hz[1:]), clocks_hz[-1]
        if last_hz < (1 - SLOWER_CLOCK) * most_hz:
            yield Doubt(
                f"its clock fell from {most_hz / 1e9:.2f} to {last_hz / 1e9:.2f} GHz",
                "cool it; --sustained shows where it settles",
            )


def _of_load(readings: Sequence[Reading], machine: dict[str, object]) -> Iterator[Doubt]:
    passed_s = readings[-1].at_s - readings[0].at_s
    if passed_s <= 0:
        return
    others_s = _grown(readings, lambda one: one.others_s)
    if others_s is not None and others_s > OTHERS * passed_s:
        yield Doubt(
            f"other processes used {others_s / passed_s:.1f} processors meanwhile",
            "stop them, or trust ratios from `xprune-edge compare` alone",
        )
    stolen_s = _grown(readings, lambda one: one.stolen_s)
    if stolen_s is not None and stolen_s > STOLEN * passed_s:
        yield Doubt(
            f"the host took {stolen_s / passed_s:.0%} of a processor for others",
            "measure on a machine of its own",
        )
    stops = _grown(readings, lambda one: one.quota_stops)
    if stops:
        yield Doubt(
            f"the container's quota stopped it {stops:g} times",
            "fewer --threads, or a container without a quota",
        )
    total, left = machine.get("memory_total_bytes"), readings[-1].memory_available_bytes
    if isinstance(total, int) and left is not None and left < MEMORY_LEFT * total:
        yield Doubt(f"only {left / 1e6:.0f} MB of memory are left", "stop what else runs")


def _grown(
    readings: Sequence[Reading], count: Callable[[Reading], float | None]
) -> float | None:
    """Return by how much a counter grew from the first reading to the last."""
    first, last = count(readings[0]), count(readings[-1])
    return None if first is None or last is None else last - first
