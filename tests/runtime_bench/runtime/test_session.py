"""The session: what runs is what was asked for, and what cannot run is named."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.machine.processors import available_threads
from runtime_bench.runtime import session as session_module
from runtime_bench.runtime.engine_cache import engine_cache
from runtime_bench.runtime.providers import PROVIDERS, EngineCache, Provider
from runtime_bench.runtime.session import OPTIMISATIONS, TensorInfo, open_session
from runtime_bench.runtime.settings import SessionSettings
from tests.reference.tiny_models import SIZE, convolutions_model, detections_model, raw_model

ONE_THREAD = SessionSettings(threads=1)


@pytest.fixture(scope="module")
def image():
    """An input of the tiny models, (1, 3, height, width)."""
    return np.random.default_rng(0).uniform(0, 1, (1, 3, *SIZE)).astype(np.float32)


def test_outputs_come_by_name(image):
    """Every output under its name, with the values that the model is known to give."""
    outputs = open_session(detections_model(), ONE_THREAD).run(image)

    assert list(outputs) == ["boxes", "scores", "labels"]
    assert outputs["scores"] == pytest.approx(image.mean(axis=(0, 2, 3)), abs=1e-6)
    assert outputs["labels"].tolist() == [0, 1, 2]


def test_a_session_tells_what_it_is():
    """Inputs, outputs, provider, threads, load time and metadata."""
    session = open_session(raw_model(), ONE_THREAD)

    assert session.inputs == (TensorInfo("images", (1, 3, *SIZE), "tensor(float)"),)
    assert session.outputs == (TensorInfo("output0", (1, 7, 1), "tensor(float)"),)
    assert session.provider == "CPUExecutionProvider"
    assert session.threads == 1
    assert session.load_time_s > 0
    assert session.metadata == {"task": "detect"}


def test_the_file_gives_the_same_as_its_bytes(tmp_path, image):
    """A path and the bytes that lie there are the same model."""
    path = tmp_path / "model.onnx"
    path.write_bytes(raw_model())

    from_file = open_session(path, ONE_THREAD).run(image)["output0"]

    assert np.array_equal(
        from_file, open_session(raw_model(), ONE_THREAD).run(image)["output0"]
    )


@pytest.mark.parametrize("optimisation", sorted(OPTIMISATIONS))
def test_every_level_of_optimisation_gives_the_same_answer(image, optimisation):
    """The level changes the speed, not the result."""
    plain = open_session(convolutions_model(), replace(ONE_THREAD, optimisation="none"))
    other = open_session(convolutions_model(), replace(ONE_THREAD, optimisation=optimisation))

    expected = plain.run(image)["output0"]

    assert other.run(image)["output0"] == pytest.approx(expected, abs=1e-4)


def test_threads_default_to_what_the_process_may_use():
    """Without a number it is the affinity and quota, never more."""
    assert open_session(raw_model(), SessionSettings()).threads == available_threads()


def test_the_settings_reach_onnxruntime(monkeypatch):
    """Threads, order, log level and the provider arrive as they were asked for."""
    seen = {}
    real = onnxruntime.InferenceSession

    def spy(model, options, **arguments):
        seen.update(arguments, options=options)
        return real(model, options, **arguments)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    open_session(raw_model(), SessionSettings(threads=2, optimisation="basic"))

    options = seen["options"]
    assert options.intra_op_num_threads == 2
    assert options.inter_op_num_threads == 1
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == OPTIMISATIONS["basic"]
    assert options.log_severity_level == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert seen["providers"] == [("CPUExecutionProvider", {})]


def test_an_unknown_provider_is_wrong_usage():
    """The known ones are listed."""
    with pytest.raises(UsageError, match="no provider is called 'tpu'; there are: cpu"):
        open_session(raw_model(), SessionSettings(provider="tpu"))


def test_a_provider_that_is_not_installed_is_refused(monkeypatch):
    """It is never replaced by the CPU; the installed ones are listed."""
    monkeypatch.setitem(PROVIDERS, "gpu", Provider("NoSuchExecutionProvider", "a wheel"))

    with pytest.raises(
        EdgeError, match=r"'gpu' \(NoSuchExecutionProvider\) is not in the inst.* a wheel"
    ):
        open_session(raw_model(), SessionSettings(provider="gpu"))


def test_a_provider_that_does_not_run_is_refused(monkeypatch):
    """When onnxruntime puts another provider in its place, that is an error."""
    monkeypatch.setitem(PROVIDERS, "gpu", Provider("GpuExecutionProvider", "a wheel"))
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["GpuExecutionProvider"]
    )
    real = onnxruntime.InferenceSession

    def cpu_instead(model, options, **_arguments):
        return real(model, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", cpu_instead)

    with pytest.raises(
        EdgeError, match="would run on CPUExecutionProvider; GpuExecutionProvider was asked for"
    ):
        open_session(raw_model(), SessionSettings(provider="gpu"))


def test_a_provider_that_breaks_is_refused(monkeypatch):
    """A provider that is listed but cannot be used is an error in one line."""
    monkeypatch.setitem(PROVIDERS, "gpu", Provider("GpuExecutionProvider", "a wheel"))
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["GpuExecutionProvider"]
    )
    monkeypatch.setattr(
        "onnxruntime.capi.onnxruntime_inference_collection.C.get_available_providers",
        lambda: ["GpuExecutionProvider"],
    )

    with pytest.raises(EdgeError, match="Unknown Provider Type: GpuExecutionProvider"):
        open_session(raw_model(), SessionSettings(provider="gpu"))


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_an_impossible_number_of_threads_is_wrong_usage(threads):
    """The range is named."""
    with pytest.raises(UsageError, match=f"threads is {threads}; it must be from 1 to 1024"):
        open_session(raw_model(), SessionSettings(threads=threads))


def test_an_unknown_level_is_wrong_usage():
    """The known levels are listed."""
    with pytest.raises(UsageError, match="'most'; there are: none, basic, extended, all"):
        open_session(raw_model(), SessionSettings(optimisation="most"))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a\x12"])
def test_a_corrupt_file_is_named(tmp_path, content):
    """One line with the file and what to do."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(EdgeError, match=r"'.*model\.onnx' cannot be loaded") as caught:
        open_session(path, ONE_THREAD)

    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(tmp_path):
    """A copy that was cut short does not load."""
    path = tmp_path / "model.onnx"
    path.write_bytes(convolutions_model()[:-200])

    with pytest.raises(EdgeError, match="cannot be loaded as an ONNX model"):
        open_session(path, ONE_THREAD)


def test_a_missing_file_is_named(tmp_path):
    """The error says which file."""
    with pytest.raises(EdgeError, match=r"'.*none\.onnx' does not exist"):
        open_session(tmp_path / "none.onnx", ONE_THREAD)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3, *SIZE), np.float64)]
)
def test_an_input_that_does_not_fit_is_named(wrong):
    """Shape and type of what was given are in the message."""
    session = open_session(raw_model(), ONE_THREAD)

    with pytest.raises(EdgeError, match=rf"cannot run on {wrong.dtype} \(1, 3, "):
        session.run(wrong)


def test_telemetry_is_off_before_onnxruntime_is_imported():
    """In a fresh interpreter, also when the variable says otherwise."""
    program = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime': print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import runtime_bench.runtime.session\n"
        "print('onnx' in sys.modules, 'torch' in sys.modules)\n"
    )
    root = str(Path(session_module.__file__).parents[2])

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": root, "ORT_DISABLE_TELEMETRY": "0"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["1", "False", "False"]


def test_threads_that_share_the_cores_may_be_told_to_sleep(monkeypatch):
    """Without spinning, idle threads of one session leave the cores to another one."""
    seen = {}
    real = onnxruntime.InferenceSession

    def spy(model, options, **arguments):
        seen["options"] = options
        return real(model, options, **arguments)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    open_session(raw_model(), SessionSettings(spinning=False))

    entry = seen["options"].get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == "0"


def test_what_is_ready_runs_where_it_lies(image, monkeypatch):
    """Of a provider with a memory of its own; here the CPU stands for one."""
    cpu = replace(PROVIDERS["cpu"], memory="cpu")
    monkeypatch.setitem(PROVIDERS, "cpu", cpu)
    session = open_session(detections_model(), ONE_THREAD)

    call = session.ready(image)
    first, second = call(), call()

    assert first is second  # the outputs are bound once
    for array, wanted in zip(
        second.copy_outputs_to_cpu(), session.run(image).values(), strict=True
    ):
        np.testing.assert_array_equal(array, wanted)


def test_a_wrong_input_that_was_bound_is_one_line(image, monkeypatch):
    """As where nothing is bound."""
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], memory="cpu"))
    session = open_session(detections_model(), ONE_THREAD)

    with pytest.raises(EdgeError, match="the model cannot run on float32"):
        session.ready(image[:, :, :-1])()


def test_an_engine_is_built_once_and_then_loaded(monkeypatch):
    """The first load, which builds, is timed apart; without a folder nothing can be kept."""
    cache = EngineCache("a_path", {"a_switch": "1"})
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], engine_cache=cache))
    real, given = onnxruntime.InferenceSession, []

    def note(model, options, *, providers, **rest):
        given.append(providers[0][1])
        return real(model, options, providers=["CPUExecutionProvider"], **rest)

    monkeypatch.setattr(session_module.ort, "InferenceSession", note)
    seconds = iter((0.0, 60.0, 100.0, 101.0))
    with engine_cache(ONE_THREAD) as running:
        folder = Path(dict(running.provider_options)["a_path"])
        assert folder.is_dir()
        session = open_session(raw_model(), running, clock=lambda: next(seconds))

    assert (session.build_time_s, session.load_time_s) == (60.0, 1.0)
    assert given == [{"a_switch": "1", "a_path": str(folder)}] * 2
    assert not folder.exists()
    assert open_session(raw_model(), ONE_THREAD).build_time_s is None


def test_a_folder_for_engines_that_was_named_stays(tmp_path):
    """Engines in it serve the next measurement."""
    named = replace(
        ONE_THREAD,
        provider="tensorrt",
        provider_options=(("trt_engine_cache_path", str(tmp_path)),),
    )

    with engine_cache(named) as running:
        assert running == named
    with engine_cache(ONE_THREAD) as running:
        assert running == ONE_THREAD
    assert tmp_path.exists()
