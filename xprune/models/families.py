"""The families of networks by name, and the architectures of all of them."""

from typing import Any

from runtime_bench.errors import EdgeError
from xprune.models.family import Architecture, Family
from xprune.models.torchvision.classifier import Classifier
from xprune.models.torchvision.one_stage import OneStage
from xprune.models.torchvision.ssd import Ssd
from xprune.models.torchvision.two_stage import TwoStage
from xprune.models.ultralytics.yolo import Yolo

YOLO, ONE_STAGE, TWO_STAGE = Yolo(), OneStage(), TwoStage()
SSD, CLASSIFIER = Ssd(), Classifier()
MODELS: dict[str, Family] = {
    family.key: family for family in (YOLO, ONE_STAGE, TWO_STAGE, SSD, CLASSIFIER)
}


def family_of(architecture: object) -> str:
    """Return the family, a key of `MODELS`, that an unchecked architecture says it is of.

    Raises:
        EdgeError: If there is none of that name.
    """
    # Those of YOLO are as in Ultralytics' YAML, which names no family.
    named = architecture.get("family", YOLO.key) if isinstance(architecture, dict) else YOLO.key
    if not isinstance(named, str) or named not in MODELS:
        raise EdgeError(
            f"the architecture is of the family {str(named)[:40]!r}, which is not known; "
            f"there are: {', '.join(MODELS)}"
        )
    return named


def check_architecture(raw: object, *, where: str) -> Architecture:
    """Return a fresh copy of an architecture of any family, once it is known to be allowed.

    Raises:
        EdgeError: If it is not.
    """
    return MODELS[family_of(raw)].check_architecture(raw, where=where)


def find_architecture(name: str) -> Any:
    """Return the unchecked architecture that people call `name`; None if there is none."""
    found = (family.known_architecture(name) for family in MODELS.values())
    return next((architecture for architecture in found if architecture is not None), None)
