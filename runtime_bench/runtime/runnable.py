"""What a loaded model must be able to do, whichever runtime loaded it.

`session.Session`, of onnxruntime, is one. Another runtime is another file with a class like
this and a function like `session.open_session`; what opens a model for everyone else is
`artifact.opened.open_artifact`, and there it is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from runtime_bench.runtime.feeds import Feed, TensorInfo


class Runnable(Protocol):
    """A loaded model."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What goes in."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What comes out."""

    @property
    def provider(self) -> str:
        """What really computes, by the runtime's own name."""

    @property
    def threads(self) -> int:
        """Threads inside one operation."""

    @property
    def load_time_s(self) -> float:
        """Seconds from the file to a model that can run."""

    @property
    def build_time_s(self) -> float | None:
        """Seconds to build what the loaded file is run by; None where nothing is built."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The notes in the file."""

    def run(self, feed: Feed) -> Mapping[str, npt.NDArray[np.generic]]:
        """Run the model once; see `session.Session.run`."""

    def ready(self, feed: Feed) -> Callable[[], object]:
        """Return a call that runs it on a feed; see `session.Session.ready`."""
