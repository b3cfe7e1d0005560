"""The rules of CONTRIBUTING that no linter holds, and a proof that each check bites."""

from __future__ import annotations

import pytest

from tests.architecture.source import (
    CHECKS,
    MAX_FILE_LINES,
    MAX_FUNCTION_LINES,
    PACKAGES,
    findings,
    python_files,
)


@pytest.mark.parametrize("check", CHECKS)
def test_packages_keep_the_rule(check: str) -> None:
    """No file of the three packages breaks it."""
    files = python_files(*PACKAGES)

    assert len(files) > len(PACKAGES)
    assert findings(check, files) == []


@pytest.mark.parametrize("check", ["idea", "length"])
def test_tests_keep_the_rule(check: str) -> None:
    """Tests say their idea too, and are no longer than code."""
    assert findings(check, python_files("tests")) == []


BROKEN = {
    "idea": "import os\n",
    "length": "def long():\n" + "    pass\n" * MAX_FUNCTION_LINES,
    "ultralytics": "try:\n    from ultralytics import nn\nexcept ImportError:\n    pass\n",
    "errors": "try:\n    work()\nexcept (OSError, Exception):\n    pass\n",
}
KEPT = {
    "idea": '"""One idea."""\n',
    "length": "def long():\n" + "    pass\n" * (MAX_FUNCTION_LINES - 1),
    "ultralytics": "def load():\n    import ultralytics\n",
    "errors": "try:\n    work()\nexcept Exception:\n    tidy()\n    raise\n",
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_broken_rule_is_found(check: str) -> None:
    """Each check finds one fault in the broken example, and none in the kept one."""
    assert len(list(CHECKS[check](BROKEN[check]))) == 1
    assert list(CHECKS[check](KEPT[check])) == []


def test_a_long_file_is_found() -> None:
    """One line over the limit is a finding, the limit itself is none."""
    assert len(list(CHECKS["length"]("x = 1\n" * (MAX_FILE_LINES + 1)))) == 1
    assert list(CHECKS["length"]("x = 1\n" * MAX_FILE_LINES)) == []
