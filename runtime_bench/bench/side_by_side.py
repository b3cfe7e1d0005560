"""Compare artifacts on this machine, in one run: how much faster is each than the first one?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime_bench.artifact.opened import open_artifact
from runtime_bench.bench.result import ArtifactFacts, artifact_facts
from runtime_bench.errors import UsageError
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.engine_cache import engine_cache
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.inputs import LatencyInput, choose_inputs, in_turn, inputs_of
from runtime_bench.timing.looks import Looked, Standing, Verdict, look_in_turn, standings_of

FORMAT = "xprune-edge comparison"
VERSION = 1


@dataclass(frozen=True)
class SideBySide:
    """Artifacts that took turns.

    Attributes:
        paths: As they were named.
        artifacts: What each one is.
        within: What counts as the same, as a share.
        provider: The execution provider that ran, by onnxruntime's name.
        threads: Threads inside one operation.
        latency_input: What the timed runs saw.
        machine: What `describe_machine` says of it.
        compared: Every sample, and how each but the first one stands.
    """

    paths: tuple[str, ...]
    artifacts: tuple[ArtifactFacts, ...]
    within: float
    provider: str
    threads: int
    latency_input: LatencyInput
    machine: dict[str, object]
    compared: Looked[tuple[Standing, ...]]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each artifact but the first one."""
        return tuple(one.last_verdict(self.within) for one in self.compared.found)

    def to_json(self) -> dict[str, object]:
        """Return what is written to a file."""
        standings = [
            {"ratio": one.ratio, "interval": list(one.interval), "verdict": verdict}
            for one, verdict in zip(self.compared.found, self.verdicts, strict=True)
        ]
        artifacts = [
            {
                "path": path,
                **asdict(facts),
                "input_size": list(facts.input_size),
                "latency_samples_s": list(times_s),
                "against_first": standing,
            }
            for path, facts, times_s, standing in zip(
                self.paths,
                self.artifacts,
                self.compared.times_s,
                [None, *standings],
                strict=True,
            )
        ]
        return {
            "format": FORMAT,
            "version": VERSION,
            "within": self.within,
            "provider": self.provider,
            "threads": self.threads,
            "latency_input": self.latency_input,
            "looks": self.compared.looks,
            "machine": self.machine,
            "artifacts": artifacts,
        }


def compare_artifacts(
    artifacts: Sequence[Path],
    *,
    pictures: Sequence[Path] = (),
    session: SessionSettings | None = None,
    within: float,
    max_time_s: float,
    on_round: Callable[[float], object] = lambda done_s: None,
) -> SideBySide:
    """Time artifacts in turn until each is known to be faster, slower, or the same.

    Args:
        artifacts: The first one is what the others are compared with.
        pictures: What the timed runs see; without any, those that came with an artifact.
        session: How onnxruntime is to run; idle threads never wait actively.
        within: What counts as the same, as a share: 0.03 for 3 %.
        max_time_s: The most seconds, over all artifacts.
        on_round: Called with the seconds so far after each round, for progress.

    Raises:
        EdgeError: If an artifact is missing or damaged, or a picture cannot be read.
        UsageError: If there are fewer than two.
    """
    if len(artifacts) < 2:
        raise UsageError("one artifact cannot be compared; name two or more")
    # Threads that wait actively would eat the cores of the session whose turn it is.
    settings = replace(session or SessionSettings(), spinning=False)
    machine = describe_machine()
    with engine_cache(settings) as running:
        opened = [open_artifact(artifact, running) for artifact in artifacts]
    seen = choose_inputs(opened, pictures)
    arms = [in_turn(one.session, inputs_of(one, seen.pictures)) for one in opened]
    compared = look_in_turn(
        arms,
        standings_of,
        lambda standings: all(one.verdict(within) is not None for one in standings),
        max_time_s=max_time_s,
        on_round=on_round,
    )
    return SideBySide(
        paths=tuple(str(artifact) for artifact in artifacts),
        artifacts=tuple(artifact_facts(one) for one in opened),
        within=within,
        provider=opened[0].session.provider,
        threads=opened[0].session.threads,
        latency_input=seen.kind,
        machine=machine,
        compared=compared,
    )
