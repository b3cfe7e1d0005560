"""The wheel holds all that the packages need at run time, and every dependency has its pin."""

from __future__ import annotations

import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source import PACKAGES

MAX_WHEEL_BYTES = 8_000_000
LEFTOVERS = {".pyc", ".pt"}  # of Python, and of a training that can go on


def _requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path, repository: Path) -> None:
    """Weights, templates and code are in it; tests, configurations and caches are not."""
    expected = {
        path.relative_to(repository).as_posix()
        for package in PACKAGES
        for path in (repository / package).rglob("*")
        if path.is_file() and path.suffix not in LEFTOVERS
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert held == expected
    assert "xprune/builtin/detector.safetensors" in held
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_wheel_holds_both_licences(wheel: Path) -> None:
    """The code's licence and the note about the weights' travel with it."""
    with zipfile.ZipFile(wheel) as archive:
        licences = {
            name.partition(".dist-info/licenses/")[2]
            for name in archive.namelist()
            if ".dist-info/licenses/" in name
        }

    assert licences == {"LICENSE", "xprune/builtin/LICENSE-AGPL-3.0"}


def test_plain_install_is_the_device_side(wheel: Path) -> None:
    """Without an extra, exactly what the device needs is installed."""
    plain = {
        requirement.name.lower()
        for requirement in _requirements(wheel)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }

    assert plain == {
        "click",
        "numpy",
        "onnxruntime",
        "pillow",
        "psutil",
        "pycocotools",
        "pyyaml",
        "rich",
    }


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_dependency_has_a_pin(wheel: Path, repository: Path, python: str) -> None:
    """What the wheel asks for, on any Python, has one version in constraints.txt that fits."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    lines = (repository / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    pinned = {
        canonicalize_name(pin.name): pin.specifier
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    asked = [
        requirement
        for extra in ("", "prune", "dev", "peers")
        for requirement in _requirements(wheel)
        if requirement.marker is None
        or requirement.marker.evaluate({**environment, "extra": extra})
    ]

    for requirement in asked:
        (version,) = (pin.version for pin in pinned[canonicalize_name(requirement.name)])
        assert requirement.specifier.contains(version), requirement


def test_pins_name_no_address(repository: Path) -> None:
    """A pin is a version: where it comes from is the business of who installs it."""
    text = (repository / "constraints.txt").read_text("utf-8")

    assert "://" not in text
    assert "@" not in text
