"""Execution providers by short names, their options, and what each one ran."""

from __future__ import annotations

import re

import pytest

from runtime_bench.errors import UsageError
from runtime_bench.runtime.profile import NodeTime, NodeTimes, ProviderShare
from runtime_bench.runtime.providers import CPU, PROVIDERS, find_provider, read_options


def test_each_provider_is_there_under_its_short_name() -> None:
    """onnxruntime's names follow one pattern, and each says what to install."""
    assert find_provider(CPU).name == "CPUExecutionProvider"
    assert len({provider.name for provider in PROVIDERS.values()}) == len(PROVIDERS)
    for provider in PROVIDERS.values():
        assert re.fullmatch(r"[A-Z]\w+ExecutionProvider", provider.name)
        assert provider.comes_with


def test_an_unknown_one_is_refused_with_those_there_are() -> None:
    """A typing error is no reason to read the documentation."""
    with pytest.raises(UsageError, match=r"'gpu'; there are: cpu, cuda, tensorrt"):
        find_provider("gpu")


def test_options_are_pairs() -> None:
    """A value may hold the sign itself."""
    assert read_options(["device_type=CPU", " a = b=c"]) == {"device_type": "CPU", "a": "b=c"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["device"], "write key=value"),
        (["=CPU"], "write key=value"),
        (["a=1", "a=2"], "a comes twice"),
    ],
)
def test_what_is_no_pair_is_refused(entries: list[str], words: str) -> None:
    """With what was given."""
    with pytest.raises(UsageError, match=words):
        read_options(entries)


def test_shares_are_of_nodes_and_of_time() -> None:
    """The busiest provider comes first."""
    times = NodeTimes(
        nodes=(
            NodeTime("a", "Conv", "a", 1.0, "CPUExecutionProvider"),
            NodeTime("b", "Sub", "b", 8.0, "OpenVINOExecutionProvider"),
            NodeTime("c", "Add", "c", 1.0, "CPUExecutionProvider"),
        ),
        run_s=11.0,
    )

    assert list(times.by_provider.items()) == [
        ("OpenVINOExecutionProvider", ProviderShare(1, 0.8)),
        ("CPUExecutionProvider", ProviderShare(2, 0.2)),
    ]
