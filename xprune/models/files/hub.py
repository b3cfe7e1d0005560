"""The official weights of torchvision: from its hub's cache, or downloaded if one asks."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import torch

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import sha256_of
from xprune.models.torchvision import one_stage, ssd, two_stage
from xprune.models.torchvision.classifier import NAMES, TORCHVISION
from xprune.models.torchvision.family import models

DEFAULT = "DEFAULT"
# As the hub names its files: what they are of, and how their SHA-256 begins.
_NAMED = re.compile(r"(\w+)-([0-9a-f]{8})\.p?th")


def default_weights(model: str, say: Callable[[str], None]) -> Path:
    """Return torchvision's own weights of an architecture, downloaded if they are not there.

    Args:
        model: Its name.
        say: Tells a person where they are from.

    Raises:
        UsageError: If torchvision has none.
        EdgeError: If they cannot be downloaded.
    """
    official = (*TORCHVISION, *one_stage.OFFICIAL, *two_stage.OFFICIAL, *ssd.NAMES)
    if model not in official:
        raise UsageError(
            f"--weights {DEFAULT} is for torchvision's own weights, and there are none of "
            f"{model}; give a path, or --weights none for random ones"
        )
    url = models().get_model_weights(model).DEFAULT.url
    path = Path(str(torch.hub.get_dir())) / "checkpoints" / str(url).rsplit("/", 1)[-1]
    if path.is_file():
        say(f"Weights: {path}")
        return path
    say(f"Downloading {url} to {path.parent}")
    path.parent.mkdir(parents=True, exist_ok=True)
    named = _NAMED.fullmatch(path.name)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=named and named[2])
    except (OSError, URLError, RuntimeError) as error:
        raise EdgeError(
            f"{url} cannot be downloaded ({' '.join(str(error).split())[:120]}); "
            "get it elsewhere and give its path as --weights"
        ) from error
    return path


def check_name(path: Path) -> None:
    """Check that a file named as the hub names them is what its name says.

    Raises:
        EdgeError: If its SHA-256 is another one.
    """
    named = _NAMED.fullmatch(path.name)
    # Elsewhere eight such digits may be a commit, or a date.
    stem = named[1].removesuffix("_coco") if named else ""
    detectors = (*one_stage.NAMES, *two_stage.NAMES, *ssd.NAMES)
    known = named and (stem in (*NAMES, *detectors) or f"{stem}_cifar" in NAMES)
    if named and known and not sha256_of(path).startswith(named[2]):
        raise EdgeError(
            f"{path} is damaged, or is not what it is called: its SHA-256 does not begin with "
            f"{named[2]}; get it once more, or call it otherwise"
        )
