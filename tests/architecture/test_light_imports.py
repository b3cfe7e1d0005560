"""The device side and the help of every command need nothing of the extra `prune`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.fresh import EXTRA, HEAVY, RUN_COMMAND, module_names, printed, run_fresh

COMMANDS = (
    "prune-export",
    "attribute",
    "plan",
    "prune",
    "export",
    "layers",
    "frontier",
    "study",
    "bench",
    "predict",
    "inspect",
    "doctor",
)
SAY_WHAT_IS_LOADED = f"""
import sys
print(*sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def _imports(names: list[str]) -> str:
    return "".join(f"import {name}\n" for name in names if not name.endswith("__main__"))


def test_device_side_imports_without_the_extra() -> None:
    """Every module of runtime_bench imports where nothing of the extra is installed."""
    done = run_fresh(_imports(module_names("runtime_bench")), hidden=EXTRA)

    assert done.returncode == 0, done.stderr


def test_device_side_does_not_load_the_extra_where_it_is_installed() -> None:
    """Importing all of runtime_bench loads no package of the extra."""
    loaded = printed(_imports(module_names("runtime_bench")) + SAY_WHAT_IS_LOADED)

    assert set(loaded).isdisjoint(EXTRA)


@pytest.mark.needs_torch
def test_exporters_do_not_import_without_the_extra() -> None:
    """The hiding bites: what really needs the extra fails, and names what it misses."""
    done = run_fresh(_imports(module_names("exporters")), hidden=EXTRA)

    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named" in done.stderr


@pytest.mark.parametrize("name", ["torch", "onnx"])
def test_a_hidden_package_is_not_even_found(name: str) -> None:
    """A hidden package is absent for an import and for a mere question alike."""
    asked = f"""
import importlib.util
assert importlib.util.find_spec({name!r}) is None
try:
    import {name}
except ModuleNotFoundError as error:
    print(error.name)
"""

    assert printed(asked, hidden=EXTRA) == [name]


def test_help_loads_nothing_heavy() -> None:
    """`xprune-edge --help` loads no package that takes long to import."""
    assert printed(RUN_COMMAND + "assert run('--help') == 0\n" + SAY_WHAT_IS_LOADED) == []


def test_a_heavy_import_is_seen() -> None:
    """The look at what is loaded bites: an import of numpy is in it."""
    assert printed("import numpy\n" + SAY_WHAT_IS_LOADED) == ["numpy"]


def test_every_command_has_help_without_the_extra() -> None:
    """On the plain install each command explains itself, also those that it cannot run."""
    codes = printed(
        RUN_COMMAND + f"print(*[run(name, '--help') for name in {COMMANDS!r}])", hidden=EXTRA
    )

    assert dict(zip(COMMANDS, codes, strict=True)) == dict.fromkeys(COMMANDS, "0")


def test_a_command_that_needs_the_extra_names_it(tmp_path: Path) -> None:
    """Without the extra the main job ends with one line that says what to install."""
    job = f"sys.exit(run('prune-export', '--out', {str(tmp_path / 'run')!r}))"
    done = run_fresh(RUN_COMMAND + job, hidden=EXTRA)

    assert done.returncode == 1
    assert "xprune-edge[prune]" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
