"""How a model is to be run: a value that every measurement carries along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SessionSettings:
    """How onnxruntime is to run a model.

    Attributes:
        provider: The execution provider by our own short name, such as "cpu".
        provider_options: Its options as pairs, as onnxruntime documents them.
        threads: Threads inside one operation; None for all that this process may use.
        optimisation: How far the graph is rewritten: "none", "basic", "extended", "all".
        spinning: Whether idle threads wait actively for the next operation. That is quick for
            one session alone; of two in turn, one's threads would eat the other's cores.
        arena: Whether onnxruntime keeps what it allocated for the next run; without it, a run
            takes less memory, and may be slower.
        profile_path: The beginning of the name of the profile that onnxruntime writes; None for
            no profile (it slows a run down by about a tenth).
    """

    provider: str = "cpu"
    provider_options: tuple[tuple[str, str], ...] = ()
    threads: int | None = None
    optimisation: str = "all"
    spinning: bool = True
    arena: bool = True
    profile_path: Path | None = None
