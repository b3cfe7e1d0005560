"""The architectures that a person can name, and the reading of a YAML that brings another."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from runtime_bench.errors import EdgeError

MAX_YAML_BYTES = 256 * 1024


def known_architecture(name: str) -> Any:
    """Return the unchecked architecture that Ultralytics ships under `name`, or "<name>.yaml".

    Returns:
        None if there is none.
    """
    found = _find(name)
    if found is None:
        return None
    path, scale = found
    architecture = read_yaml(path)
    if scale:
        architecture["scale"] = scale
    return architecture


def _find(name: str) -> tuple[Path, str | None] | None:
    stem = name.removesuffix(".yaml")
    files = _shipped_files()
    if stem in files:
        return files[stem], None
    # "yolov8n-p2" is scale n of yolov8-p2.yaml, "yolo11s" scale s of yolo11.yaml.
    match = re.fullmatch(r"(yolo(?:e-)?v?\d+)([a-z])(.*)", stem)
    if match is None:
        return None
    path = files.get(match[1] + match[3])
    if path is None or match[2] not in (read_yaml(path).get("scales") or {}):
        return None
    return path, match[2]


@cache
def _shipped_files() -> dict[str, Path]:
    spec = find_spec("ultralytics")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "cfg" / "models"
    return {path.stem: path for path in sorted(folder.glob("*/yolo*.yaml"))}


def read_yaml(path: Path) -> Any:
    """Read a YAML that may hold plain values only.

    The scale of an architecture, when the file leaves it open, is taken from its name, as
    Ultralytics does: "yolov8s-mine.yaml" is of scale "s".

    Raises:
        EdgeError: If the file is missing, too large, no YAML, or asks for Python objects.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_YAML_BYTES + 1)
        if len(data) > MAX_YAML_BYTES:
            raise EdgeError(f"{path} has over {MAX_YAML_BYTES} bytes; it is no architecture")
        content = yaml.safe_load(data.decode())
    except OSError as error:
        raise EdgeError(f"{path} cannot be opened ({error.strerror}); check the path") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise EdgeError(
            f"{path}{line}: {problem}; an architecture holds plain values only"
        ) from None
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise EdgeError(f"{path} is no readable YAML text; check the file") from None
    if isinstance(content, dict) and "scales" in content and not content.get("scale"):
        found = re.search(r"yolo(?:e-)?v?\d+([nslmx])", path.stem)
        if found and isinstance(content["scales"], dict) and found[1] in content["scales"]:
            content["scale"] = found[1]
    return content
