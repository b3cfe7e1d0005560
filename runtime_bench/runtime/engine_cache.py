"""Where a provider that builds an engine for each model keeps it, for one measurement."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from runtime_bench.runtime.providers import find_provider
from runtime_bench.runtime.settings import SessionSettings


@contextlib.contextmanager
def engine_cache(settings: SessionSettings) -> Iterator[SessionSettings]:
    """Yield settings with which every session, in this process or another, finds one engine.

    To build one takes minutes; without a place to keep it, each session would build it again.
    The folder goes at the end, unless the settings name one, which then stays as it is.
    """
    cache = find_provider(settings.provider).engine_cache
    given = dict(settings.provider_options)
    if cache is None or cache.path_option in given:
        yield settings
        return
    with tempfile.TemporaryDirectory(prefix="xprune-edge-engines-") as folder:
        options = {**cache.switch, **given, cache.path_option: folder}
        yield replace(settings, provider_options=tuple(options.items()))
