"""Names of processors, from the lines that kernels of several kinds write."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime_bench.machine.cpu_name import cpu_name
from tests.runtime_bench.machine.made_up import make

BIG_LITTLE = "".join(
    f"processor: {index}\nCPU implementer : 0x41\nCPU part : {part}\n"
    for index, part in enumerate(["0xd05", "0xd05", "0xd0b"])
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model name\t: AMD EPYC\nmodel name\t: AMD EPYC\n", "AMD EPYC"),
        ("CPU implementer\t: 0x41\nCPU part\t: 0xd08\nHardware\t: BCM2711\n", "Cortex-A72"),
        (BIG_LITTLE, "Cortex-A55 + Cortex-A76"),
        ("CPU implementer: 0x51\nCPU part: 0x800\nHardware: SDM845\n", "SDM845"),
        ("CPU implementer: 0x41\nCPU part: 0xfff\n", None),
        ("", None),
    ],
)
def test_a_processor_has_a_name(tmp_path: Path, text: str, name: str | None) -> None:
    """ARM kernels tell numbers; what stands for no known name is not guessed."""
    make(tmp_path, {"proc/cpuinfo": text})

    assert cpu_name(tmp_path) == name
