"""Run an ONNX file: the only place that knows onnxruntime.

Nothing is replaced silently: a provider that is not there is an error, and the one that really
runs is compared with the one that was asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.machine.processors import available_threads
from runtime_bench.runtime.feeds import Feed, TensorInfo
from runtime_bench.runtime.providers import Provider, find_provider

# onnxruntime from 1.29 on sends telemetry from a thread of its own unless it is told not to
# before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime_bench.runtime.settings import SessionSettings

OPTIMISATIONS: dict[str, ort.GraphOptimizationLevel] = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

# What onnxruntime raises has no common parent but `Exception`; its Python side raises the last
# two.
_REFUSALS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)

_ERRORS_ONLY = 3
_MAX_THREADS = 1024


class Session:
    """A loaded model.

    Attributes:
        inputs: What goes in.
        outputs: What comes out.
        provider: The execution provider that really runs, by onnxruntime's name.
        threads: Threads inside one operation.
        load_time_s: Seconds from the file to a session that can run.
        build_time_s: Seconds of the first such load, where an engine is built in it and kept;
            None for a provider that builds none.
        metadata: The `metadata_props` of the file.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        *,
        threads: int,
        load_time_s: float,
        build_time_s: float | None = None,
        memory: str | None = None,
    ) -> None:
        self._session = session
        self.inputs = tuple(_tensor_info(value) for value in session.get_inputs())
        self.outputs = tuple(_tensor_info(value) for value in session.get_outputs())
        self.provider: str = session.get_providers()[0]
        self.threads = threads
        self.load_time_s, self.build_time_s = load_time_s, build_time_s
        self._memory = memory
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._output_names = [output.name for output in self.outputs]

    def run(self, feed: Feed) -> dict[str, npt.NDArray[np.generic]]:
        """Run the model once.

        Args:
            feed: The only input, as a picture (1, 3, height, width) float32; or all by name.

        Returns:
            Every output by its name.

        Raises:
            EdgeError: If the model refuses the input (the wrong shape or type).
        """
        named = self._named(feed)
        try:
            arrays = self._session.run(self._output_names, named)
        except _REFUSALS as error:
            raise _refused(named, error) from error
        return dict(zip(self._output_names, arrays, strict=True))

    def ready(self, feed: Feed) -> Callable[[], object]:
        """Return a call that runs the model on a feed, for timing.

        Where the provider computes in a memory of its own, the feed is copied there now, what
        comes out stays there, and the call ends when the device is done: so its time is that of
        the device. Elsewhere it is `run`.
        """
        if self._memory is None:
            return lambda: self.run(feed)
        binding, session = self._session.io_binding(), self._session
        named = self._named(feed)
        for name, array in named.items():
            there = ort.OrtValue.ortvalue_from_numpy(array, self._memory, 0)
            binding.bind_ortvalue_input(name, there)
        for name in self._output_names:
            binding.bind_output(name, self._memory)

        def run_there() -> object:
            try:
                session.run_with_iobinding(binding)
                binding.synchronize_outputs()
            except _REFUSALS as error:
                raise _refused(named, error) from error
            return binding

        return run_there

    def _named(self, feed: Feed) -> Mapping[str, npt.NDArray[np.generic]]:
        return feed if isinstance(feed, Mapping) else {self.inputs[0].name: feed}

    def end_profiling(self) -> Path:
        """Stop profiling and return the file that onnxruntime wrote."""
        return Path(self._session.end_profiling())


def open_session(
    model: Path | bytes,
    settings: SessionSettings,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Session:
    """Load an ONNX model, ready to run.

    Args:
        model: The file, or its bytes.
        settings: How to run it.
        clock: A monotonic clock in seconds.

    Raises:
        EdgeError: If the file is missing, or is no model that onnxruntime runs, or if the
            provider is not installed or refuses the model.
        UsageError: If a setting has a value that cannot be.
    """
    what = f"'{model}'" if isinstance(model, Path) else "the model"
    provider = _installed_provider(settings.provider)
    threads = _check_threads(settings.threads)
    options = _session_options(settings, threads)
    if isinstance(model, Path) and not model.is_file():
        raise EdgeError(f"{what} does not exist; name an ONNX file")

    def load() -> tuple[ort.InferenceSession, float]:
        start_s = clock()
        try:
            session = ort.InferenceSession(
                str(model) if isinstance(model, Path) else model,
                options,
                providers=[(provider.name, _provider_options(provider, settings, threads))],
                enable_fallback=0,  # else a failing provider is replaced by another one
            )
        except _REFUSALS as error:
            raise EdgeError(
                f"{what} cannot be loaded as an ONNX model: {_first_line(error)}; "
                "copy or export it again"
            ) from error
        return session, clock() - start_s

    # The first load builds the engine, and the second one finds it.
    build_time_s = load()[1] if _keeps_engines(provider, settings) else None
    session, load_time_s = load()
    running = session.get_providers()[0]
    if running != provider.name:
        raise EdgeError(
            f"{what} would run on {running}; {provider.name} was asked for and refused it"
        )
    return Session(
        session,
        threads=threads,
        load_time_s=load_time_s,
        build_time_s=build_time_s,
        memory=provider.memory,
    )


def _keeps_engines(provider: Provider, settings: SessionSettings) -> bool:
    cache = provider.engine_cache
    return cache is not None and cache.path_option in dict(settings.provider_options)


def _session_options(settings: SessionSettings, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    options.enable_cpu_mem_arena = settings.arena
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if settings.spinning else "0"
    )
    try:
        options.graph_optimization_level = OPTIMISATIONS[settings.optimisation]
    except KeyError:
        known = ", ".join(OPTIMISATIONS)
        raise UsageError(
            f"no optimisation level is called '{settings.optimisation}'; there are: {known}"
        ) from None
    if settings.profile_path is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(settings.profile_path)
    return options


def _provider_options(
    provider: Provider, settings: SessionSettings, threads: int
) -> dict[str, str]:
    """Return the options that were asked for, and as many threads as onnxruntime would use."""
    threads_option = provider.threads_option
    of_threads = {} if threads_option is None else {threads_option: str(threads)}
    return {**of_threads, **dict(settings.provider_options)}


def _installed_provider(name: str) -> Provider:
    provider = find_provider(name)
    installed = ort.get_available_providers()
    if provider.name not in installed:
        raise EdgeError(
            f"provider '{name}' ({provider.name}) is not in the installed onnxruntime "
            f"{ort.__version__}, which has: {', '.join(installed)}; "
            f"it comes with: {provider.comes_with}"
        )
    return provider


def _check_threads(threads: int | None) -> int:
    if threads is None:
        return available_threads()
    if not 1 <= threads <= _MAX_THREADS:
        raise UsageError(f"threads is {threads}; it must be from 1 to {_MAX_THREADS}")
    return threads


def _tensor_info(value: ort.NodeArg) -> TensorInfo:
    shape = tuple(side if isinstance(side, int) else None for side in value.shape)
    return TensorInfo(name=value.name, shape=shape, dtype=value.type)


def _refused(named: Mapping[str, npt.NDArray[np.generic]], error: BaseException) -> EdgeError:
    given = ", ".join(f"{array.dtype} {array.shape}" for array in named.values())
    return EdgeError(f"the model cannot run on {given}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
