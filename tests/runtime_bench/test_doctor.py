"""The doctor: what is there, what is lacking, and what to do about it."""

from __future__ import annotations

import json
import sys

from runtime_bench.doctor import (
    Package,
    describe_install,
    installed_providers,
    list_packages,
    what_is_lacking,
)

REQUIREMENTS = [
    "click>=8.1",
    "no-such-base>=1.0",
    "no-such-extra>=2.9; python_version >= '3.11' and extra == 'prune'",
    'ruff>=0.14; extra == "dev"',
]


def test_packages_come_from_the_metadata() -> None:
    """Each names what brings it; what only developers need is left out."""
    packages = list_packages(REQUIREMENTS)

    assert [(p.name, p.brought_by) for p in packages] == [
        ("click", "base"),
        ("no-such-base", "base"),
        ("no-such-extra", "prune"),
    ]
    assert packages[0].version
    assert packages[1].version is None


def test_what_is_lacking_says_what_to_install() -> None:
    """Base and extra each have their own line."""
    packages = list_packages(REQUIREMENTS)

    assert what_is_lacking(packages, python=(3, 12)) == [
        "no-such-base: run pip install xprune-edge",
        "no-such-extra: to prune and export, run pip install 'xprune-edge[prune]'",
    ]


def test_an_old_python_is_named() -> None:
    """On Python 3.10 installing the extra would change nothing."""
    packages = [Package("torch", "prune", None)]

    assert what_is_lacking(packages, python=(3, 10)) == [
        "torch: pruning and export need Python 3.11 or newer"
    ]


def test_nothing_lacking_is_an_empty_list() -> None:
    """A complete install has no complaint; one without metadata says so."""
    assert what_is_lacking([Package("click", "base", "8")], python=(3, 12)) == []
    assert "not installed here" in what_is_lacking([], python=(3, 12))[0]


def test_the_installed_providers_are_known() -> None:
    """Every onnxruntime has the CPU provider."""
    providers, problem = installed_providers()

    assert providers is not None
    assert "CPUExecutionProvider" in providers
    assert problem is None


def test_an_onnxruntime_that_kills_the_process_is_reported() -> None:
    """A wheel for another processor ends with a signal; the doctor lives on."""
    killed = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    providers, problem = installed_providers(command=killed)

    assert providers is None
    assert problem == "onnxruntime cannot be loaded (it ended with -9): install it again"


def test_the_description_is_json() -> None:
    """All of it can be written as it is."""
    install = json.loads(json.dumps(describe_install(), allow_nan=False))

    assert set(install) == {"machine", "packages", "providers", "other_providers", "lacking"}
    assert "cuda" in install["other_providers"]
    assert "cpu" not in install["other_providers"]
