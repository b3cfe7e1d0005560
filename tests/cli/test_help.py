"""The help of every command: an example to copy, and nothing heavy to wait for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.fresh import HEAVY
from tests.cli.commands import error_line, run
from xprune.cli import main

COMMANDS = sorted(main.commands)
WIDTH = 80


def test_there_are_all_commands() -> None:
    """What the README promises is there."""
    stages = {"prune-export", "attribute", "plan", "prune", "recover", "export", "bench"}
    others = {"predict", "layers", "inspect", "doctor", "latency-table", "time", "frontier"}
    others |= {"study"}

    assert stages | others | {"compare", "gate", "score"} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_runs(name: str) -> None:
    """Each example is a command line that the parser of that very command takes."""
    done = run(name, "--help")
    examples = [line.split() for line in done.output.splitlines() if "  xprune-edge " in line]

    assert done.exit_code == 0
    assert examples
    for words in examples:
        assert words[:2] == ["xprune-edge", name]
        command = main.commands[name]
        assert command.make_context(name, words[2:], resilient_parsing=False)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_into_a_terminal(name: str) -> None:
    """No line but an example is wider than 80 columns."""
    done = run(*([name] if name else []), "--help")
    lines = [line for line in done.output.splitlines() if "  xprune-edge " not in line]

    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize("name", ["prune-export", "attribute", "plan", "layers"])
def test_every_option_says_what_it_is_for(name: str) -> None:
    """An option without a word of help is not offered."""
    options = [option for option in main.commands[name].params if hasattr(option, "help")]

    assert [option.name for option in options if not option.help] == []


def test_no_help_loads_what_is_heavy(repository: Path) -> None:
    """In one fresh interpreter: after the help of all commands, no heavy package is loaded."""
    code = f"""
import sys
from click.testing import CliRunner
from xprune.cli import main
for name in {COMMANDS!r}:
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--version` says what is installed."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.3")

    done = run("--version")

    assert (done.exit_code, done.output) == (0, "xprune-edge 1.2.3\n")


def test_a_checkout_without_an_install_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is installed, one line says so."""

    def fail(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", fail)

    assert "not installed" in error_line(run("--version"))
