"""Run the real command in this process, and look at how it ended and what it left."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from xprune.cli import main

# Eight classes, as the built-in scenes have; one level, so every stage takes a second or so.
TINY_YAML = """
nc: 8
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, C2f, [16, True]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [-1, 1, C2f, [16, True]]
  - [[4], 1, Detect, [nc]]
"""

# As little work as a run can be.
LITTLE = (
    *("--imgsz", "64", "--threads", "1", "--layers", "1"),
    *("--images", "4", "--calibration-images", "4"),
)
# The built-in detector at its own size.
BUILTIN_LITTLE = (
    *("--layers", "2", "--images", "20", "--calibration-images", "8", "--threads", "1"),
)
# As little for a network that learnt nothing, on the built-in scenes.
TINY = ("--model", "tiny.yaml", "--weights", "none", "--data", "builtin", *LITTLE)


def run(*arguments: object) -> Result:
    """Run `xprune-edge ARGUMENTS`, its outputs apart."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, words, prog_name="xprune-edge")


def write_tiny_yaml(folder: Path) -> Path:
    """Write an architecture that is trained and pruned in no time; return its path."""
    path = folder / "tiny.yaml"
    path.write_text(TINY_YAML)
    return path


def error_line(result: Result) -> str:
    """Return the one line that says what went wrong, after checking that nothing else does."""
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert lines[-1] == errors[0], result.stderr
    assert "Traceback" not in result.output
    return errors[0]


def half_written(folder: Path) -> list[Path]:
    """Return what a stopped write left behind, in `folder` and below."""
    return [path for path in folder.rglob("*") if ".partial-" in path.name]


def contents(folder: Path) -> set[str]:
    """Return the names of all files below `folder`, pictures of scenes left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in files if path.suffix != ".jpg"}
