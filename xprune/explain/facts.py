"""Short lists of names and values: terms, the plan's figures, the environment."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xprune.explain import wording
from xprune.explain.wording import items_at, look_up, number_at

_Word = Callable[[float | None], str]

SUBSTITUTES: dict[str, str] = {
    "zero": "a constant zero; whatever only fed the layer is cut away with it",
    "identity": "nothing: what comes in goes out",
    "affine": "a scale and a shift per channel, fitted to what the layer did",
    "linear": "one 1\N{MULTIPLICATION SIGN}1 convolution, fitted to what the layer did",
    "depthwise": "a 1\N{MULTIPLICATION SIGN}1 convolution and one that looks at each channel"
    " alone, fitted to what the layer did",
    "lowrank-25": "two convolutions with a quarter of the channels between them, fitted",
    "lowrank-50": "two convolutions with half of the channels between them, fitted",
    "convolution": "one convolution in place of a block of several, fitted",
    **{
        f"thin-{percent}": "the same block with fewer inner channels, as many multiply-adds as"
        f" with {share} of each, what reads them solved anew"
        for percent, share in (
            (25, "a quarter"),
            (50, "half"),
            (62, "five eighths"),
            (75, "three quarters"),
            (87, "seven eighths"),
        )
    },
    "clip": "a clip from below, which runs inside the convolution before it",
}

CRITERIA: dict[str, str] = {
    "removal": "how far the loss may move when the layer is exchanged for its substitute",
    "removal_signed": "how far the loss moves, with its sign, when the layer is exchanged",
    "grad_act": "gradient times activation, summed over the layer's output",
    "grad_act_mean": "gradient times activation, averaged over the layer's output",
    "fisher": "the squared change of the loss, picture by picture, when the layer is exchanged",
    "l1": "the sum of the absolute weights",
    "l1_mean": "the mean of the absolute weights",
    "random": "a random number, as a baseline",
    "divergence": "how far the network's outputs move when the layer is exchanged",
    "ablation": "the loss really measured with the layer exchanged",
}

_PICTURE_USES = (
    ("test", "Test pictures"),
    ("calibration", "Calibration pictures"),
    ("skipped", "Skipped"),
)


@dataclass(frozen=True)
class Fact:
    """A name and a value; `code` ones are set in a fixed-width font."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class FactGroup:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


def substitutes_used(removed: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """Return what each substitute in use is, the most frequent first."""
    counts = Counter(entry.get("substitute") for entry in removed)
    return [
        Fact(name, SUBSTITUTES[name])
        for name, _ in counts.most_common()
        if isinstance(name, str) and name in SUBSTITUTES
    ]


def criteria_used(score_tables: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """Return what each criterion measures, as far as it is one of ours."""
    named = dict.fromkeys(table.get("criterion") for table in score_tables)
    return [
        Fact(name, CRITERIA[name])
        for name in named
        if isinstance(name, str) and name in CRITERIA
    ]


def plan_facts(summary: Mapping[str, Any], plan: Mapping[str, Any]) -> list[Fact]:
    """Return what was asked for, and what the plan predicts and delivers."""
    criterion = wording.text_of(plan.get("criterion", summary.get("criterion")))
    measured = wording.ratio(number_at(plan, "measured_speedup"))
    interval = wording.interval_at(plan, "measured_interval")
    if interval != wording.MISSING:
        measured = f"{measured} ({interval})"
    return [
        Fact("Asked for", _asked(plan)),
        Fact("Predicted", wording.ratio(number_at(plan, "predicted_speedup"))),
        Fact("Measured", measured),
        Fact("Unpruned model", _with_unit(number_at(plan, "base_latency_s"))),
        Fact("Criterion", criterion, code=True),
        Fact("Recovery", wording.text_of(summary.get("recover")), code=True),
        Fact("Precision", wording.text_of(summary.get("precision", "float32")), code=True),
    ]


def environment(
    summary: Mapping[str, Any],
    scores: Mapping[str, Any],
    *,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> list[FactGroup]:
    """Return where, with what, and on what the run was made."""
    model = look_up(summary, "model")
    files = (
        ("Weights, SHA-256", look_up(model, "weights_sha256")),
        ("Artifact before", look_up(before, "artifact", "sha256")),
        ("Artifact after", look_up(after, "artifact", "sha256")),
    )
    run = (
        Fact("Model", wording.text_of(look_up(model, "name"))),
        Fact("Input", _input_size(look_up(model, "imgsz"))),
        *_base_input(model),
        Fact("Licence", wording.text_of(look_up(model, "licence"))),
        Fact("Seed", wording.text_of(summary.get("seed"))),
        *(Fact(name, wording.text_of(digest), code=True) for name, digest in files),
    )
    data = (
        Fact("Test pictures", str(len(items_at(summary, "data", "test")))),
        Fact("Calibration pictures", str(len(items_at(summary, "data", "calibration")))),
        Fact("Skipped", str(len(items_at(summary, "data", "skipped")))),
        Fact("Scored pictures", wording.text_of(scores.get("count"))),
        Fact("Targets of the loss", wording.text_of(scores.get("targets"))),
        Fact("Loss, unpruned", _mean_std(look_up(scores, "loss"))),
    )
    groups = (
        FactGroup("Run", run),
        FactGroup("Data", data),
        FactGroup("Machine", _facts(look_up(summary, "machine"), label=_sentence_case)),
        FactGroup("Versions", _facts(look_up(summary, "versions"))),
    )
    return [group for group in groups if group.facts]


def picture_lists(summary: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return which pictures were used for what; uses without pictures are left out."""
    found = (
        (label, [wording.text_of(name) for name in items_at(summary, "data", key)])
        for key, label in _PICTURE_USES
    )
    return [(label, names) for label, names in found if names]


def command(summary: Mapping[str, Any]) -> str:
    """Return the command line that made the run."""
    words = summary.get("command")
    if isinstance(words, list | tuple):
        return shlex.join(map(str, words))
    return wording.text_of(words)


def copyleft_licence(summary: Mapping[str, Any]) -> str | None:
    """Return the licence if it asks something of whoever passes the artifact on."""
    licence = look_up(summary, "model", "licence")
    return licence if isinstance(licence, str) and licence.startswith("AGPL-3.0") else None


def _asked(plan: Mapping[str, Any]) -> str:
    words: dict[str, _Word] = {
        "speedup": wording.ratio,
        "latency_s": _with_unit,
        "layers": lambda count: f"{wording.fixed(count, 0)} layers",
        "fraction": lambda part: f"{wording.share(part)} of the convolutions",
    }
    asked = {key: number_at(plan, "asked", key) for key in words}
    parts = [words[key](value) for key, value in asked.items() if value is not None]
    return ", ".join(parts) or wording.MISSING


def _with_unit(seconds: float | None) -> str:
    return wording.MISSING if seconds is None else f"{wording.milliseconds(seconds)} ms"


def _base_input(model: object) -> tuple[Fact, ...]:
    """Return the input of the unpruned model where it is another one."""
    base = look_up(model, "base_imgsz")
    same = base is None or base == look_up(model, "imgsz")
    return () if same else (Fact("Input before", _input_size(base)),)


def _input_size(size: object) -> str:
    if not isinstance(size, list | tuple) or len(size) != 2:
        return wording.text_of(size)
    return " \N{MULTIPLICATION SIGN} ".join(map(wording.text_of, size)) + " pixels"


def _mean_std(loss: object) -> str:
    mean, std = number_at(loss, "mean"), number_at(loss, "std")
    if mean is None or std is None:
        return wording.score(mean)
    return f"{wording.score(mean)} \N{PLUS-MINUS SIGN} {wording.score(std)}"


def _facts(values: object, *, label: Callable[[str], str] = str) -> tuple[Fact, ...]:
    if not isinstance(values, Mapping):
        return ()
    return tuple(_fact(str(name), value, label) for name, value in values.items())


def _fact(name: str, value: object, label: Callable[[str], str]) -> Fact:
    """Word a value by the unit at the end of its name."""
    stem, _, unit = name.rpartition("_")
    if stem and unit in _UNITS:
        return Fact(label(stem), _UNITS[unit](wording.as_number(value)))
    return Fact(label(name), wording.text_of(value))


def _sentence_case(key: str) -> str:
    words = key.replace("_", " ")
    return _ABBREVIATIONS.get(words, words[:1].upper() + words[1:])


_ABBREVIATIONS = {"cpu": "CPU", "gpu": "GPU", "os": "OS"}
_UNITS: dict[str, _Word] = {
    "bytes": wording.size,
    "hz": lambda value: wording.amount(value, unit="Hz"),
    "c": lambda value: wording.amount(value, unit="\N{DEGREE SIGN}C"),
}
