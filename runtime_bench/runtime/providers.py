"""The execution providers of onnxruntime, by short names, and what to install for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime_bench.errors import UsageError


@dataclass(frozen=True)
class EngineCache:
    """Options of a provider that builds an engine for each model, and can keep it.

    Attributes:
        path_option: Names the folder.
        switch: What has it use that folder.
    """

    path_option: str
    switch: Mapping[str, str]


@dataclass(frozen=True)
class Provider:
    """What onnxruntime can compute with.

    Attributes:
        name: onnxruntime's own.
        comes_with: What to install for it, in words.
        threads_option: Its own option for how many threads compute; None where onnxruntime's
            threads do, or none of ours.
        memory: The memory that it computes in, by onnxruntime's name, where that is not the
            machine's own: what goes in and comes out is then copied.
        engine_cache: Where it keeps engines; None for a provider that builds none.
    """

    name: str
    comes_with: str
    threads_option: str | None = None
    memory: str | None = None
    engine_cache: EngineCache | None = None


CPU = "cpu"
PROVIDERS = {
    CPU: Provider("CPUExecutionProvider", "pip install onnxruntime"),
    "cuda": Provider("CUDAExecutionProvider", "pip install onnxruntime-gpu", memory="cuda"),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        "pip install onnxruntime-gpu, and NVIDIA TensorRT",
        memory="cuda",
        engine_cache=EngineCache("trt_engine_cache_path", {"trt_engine_cache_enable": "1"}),
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider", "pip install onnxruntime-openvino", "num_of_threads"
    ),
    "xnnpack": Provider(
        "XnnpackExecutionProvider", "a build with --use_xnnpack", "intra_op_num_threads"
    ),
    "acl": Provider("ACLExecutionProvider", "a build with --use_acl"),
    "coreml": Provider("CoreMLExecutionProvider", "pip install onnxruntime on macOS"),
    "qnn": Provider("QNNExecutionProvider", "pip install onnxruntime-qnn on Qualcomm"),
    "nnapi": Provider("NnapiExecutionProvider", "the package for Android"),
    "dml": Provider("DmlExecutionProvider", "pip install onnxruntime-directml on Windows"),
    "rocm": Provider("ROCMExecutionProvider", "a build with --use_rocm"),
    "migraphx": Provider("MIGraphXExecutionProvider", "a build with --use_migraphx"),
}


def find_provider(name: str) -> Provider:
    """Return a provider by its short name.

    Raises:
        UsageError: If none is called so.
    """
    try:
        return PROVIDERS[name]
    except KeyError:
        known = ", ".join(PROVIDERS)
        raise UsageError(f"no provider is called '{name}'; there are: {known}") from None


def has_own_memory(name: str) -> bool:
    """Tell whether a provider, by onnxruntime's name, computes in a memory of its own."""
    return any(one.name == name and one.memory is not None for one in PROVIDERS.values())


def read_options(entries: Sequence[str]) -> dict[str, str]:
    """Return a provider's options from `key=value` entries.

    Raises:
        UsageError: If an entry is no such pair, or a key comes twice.
    """
    options: dict[str, str] = {}
    for entry in entries:
        key, sign, value = entry.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"--provider-option '{entry}' is no pair; write key=value")
        if key.strip() in options:
            raise UsageError(f"--provider-option {key.strip()} comes twice; give it once")
        options[key.strip()] = value.strip()
    return options
