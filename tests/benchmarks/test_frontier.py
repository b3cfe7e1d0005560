"""What a committed result says of where it was made, and how to make it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.frontier import anyones


def test_a_result_names_no_place_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data are named by the variable, artifacts by the folder, points by the benchmark."""
    monkeypatch.setenv("XPRUNE_DATA", "/somewhere/data")
    content = {
        "options": {"weights": "/somewhere/data/weights/a.pth", "threads": 1},
        "points": [
            {
                "method": "ours",
                "budget": 0.5,
                "command": "python -m x --weights /somewhere/data/weights/a.pth",
                "artifact": f"{tmp_path}/arms/ours-0.5",
            }
        ],
    }

    told = anyones(
        content, "python -m tests.benchmarks.frontier --threads 1", {tmp_path: "FOLDER"}
    )

    assert told["options"] == {"weights": "$XPRUNE_DATA/weights/a.pth", "threads": 1}
    assert told["points"] == [
        {
            "method": "ours",
            "budget": 0.5,
            "command": "python -m tests.benchmarks.frontier --threads 1 "
            "--method ours --budget 0.5 --out FOLDER",
            "artifact": "FOLDER/arms/ours-0.5",
        }
    ]


def test_a_folder_beside_is_a_path_and_no_letters() -> None:
    """What is in it is named by it; a word that begins or ends like it stays."""
    content = {"data": "f/.pictures/instances.json", "format": "f-f of", "points": []}

    told = anyones(content, "python", {Path("f"): "FOLDER"})

    assert told == {
        "data": "FOLDER/.pictures/instances.json",
        "format": "f-f of",
        "points": [],
    }
