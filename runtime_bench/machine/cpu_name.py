"""The name of the processor. An ARM kernel tells numbers only, which stand for these names."""

from __future__ import annotations

from pathlib import Path

from runtime_bench.machine.kernel_files import ROOT, lines

# The part numbers of Arm Ltd. (implementer 0x41), from its reference manuals.
ARM = "0x41"
ARM_PARTS = {
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xc09": "Cortex-A9",
    "0xc0f": "Cortex-A15",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd46": "Cortex-A510",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}


def cpu_name(root: Path = ROOT) -> str | None:
    """Return the name of the processor; all of them, where a device has several kinds."""
    told: dict[str, list[str]] = {}
    for line in lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if value.strip():
            told.setdefault(key.strip(), []).append(value.strip())
    for key in ("model name", "cpu model"):
        if key in told:
            return told[key][0]
    parts = zip(told.get("CPU implementer", []), told.get("CPU part", []), strict=False)
    names = [ARM_PARTS.get(part) for implementer, part in parts if implementer == ARM]
    known = dict.fromkeys(name for name in names if name is not None)
    return " + ".join(known) or next(iter(told.get("Hardware", [])), None)
