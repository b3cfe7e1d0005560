"""A run as a value: what may be said of it, in which words, and what each stage depends on."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.errors import UsageError
from xprune.config import (
    CRITERION_NAMES,
    DEFAULT_SPEEDUP,
    RANGES,
    STAGE_OF,
    STAGES,
    SUBSTITUTE_NAMES,
    RunConfig,
    difference,
    make_config,
    merged,
    options_until,
    parse_imgsz,
    read_config,
)


def test_nothing_said_is_the_quick_start() -> None:
    """The built-in model on built-in data, at the default speed-up."""
    config = make_config({})

    assert (config.model, config.data, config.speedup) == ("builtin", "builtin", 1.2)
    assert config.layers is None


def test_another_model_has_no_data_of_its_own() -> None:
    """The built-in scenes are never the silent data of a person's model."""
    assert make_config({"model": "yolov8n.pt"}).data is None


@pytest.mark.parametrize("amount", ["latency_ms", "layers", "fraction"])
def test_another_amount_takes_the_place_of_the_default_speedup(amount: str) -> None:
    """Exactly one amount is set."""
    config = make_config({amount: 1})

    assert config.speedup is None
    assert getattr(config, amount) == 1


def test_a_whole_number_is_a_number() -> None:
    """2 in a TOML file is the same run as 2.0 on the command line."""
    assert make_config({"speedup": 2}) == make_config({"speedup": 2.0})
    assert isinstance(make_config({"speedup": 2}).speedup, float)


def test_options_that_are_none_were_not_given() -> None:
    """The command line passes all options, most of them None."""
    assert make_config({field.name: None for field in fields(RunConfig)}) == make_config({})


def test_every_problem_is_named_at_once() -> None:
    """A person corrects a file once, not five times."""
    with pytest.raises(UsageError) as error:
        make_config({"speedup": 1.0, "seed": -1, "typo": 1, "imgsz": [64], "raw": "yes"})

    assert str(error.value) == (
        "speedup is 1.0, must be above 1 and at most 1000; "
        "seed is -1, must be from 0 to 2147483648; "
        "there is no option 'typo'; "
        "imgsz is [64], not two sides from 1 to 4096; "
        "raw is 'yes', not true or false"
    )


@pytest.mark.parametrize("name", RANGES)
def test_a_flag_is_no_number(name: str) -> None:
    """Python counts True as 1; a configuration does not."""
    with pytest.raises(UsageError, match=f"{name} is True, not a"):
        make_config({name: True})


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9, 1e300])
def test_numbers_out_of_range_are_refused(name: str, value: float) -> None:
    """Neither NaN nor infinity slips through a comparison."""
    with pytest.raises(UsageError, match=f"{name} is"):
        make_config({name: value})


@given(
    st.dictionaries(
        st.sampled_from([*STAGE_OF, "typo"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.none()),
    )
)
def test_whatever_a_file_holds_is_a_run_or_wrong_usage(options: dict[str, Any]) -> None:
    """No value of a TOML file ends in anything but a configuration or one line."""
    try:
        config = make_config(options)
    except UsageError:
        return

    assert make_config(config.to_json()) == config


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"search": "beam", "layers": 2}, "search is for a saving of time; give speedup, not "),
        ({"rounds": 2, "fraction": 0.1}, "rounds is for a saving of time; give speedup, not "),
        ({"search": "dp", "rounds": 2}, "search and rounds exclude each other; give one"),
        ({"search": "magic"}, "not one of none, evolution, beam, dp"),
        ({"search_seconds": 0}, "search_seconds is 0, must be from 1 to 1000000"),
        ({"rounds": 0}, "rounds is 0, must be from 1 to 100"),
    ],
)
def test_a_search_or_rounds_that_cannot_be_are_refused(
    options: dict[str, Any], says: str
) -> None:
    """In one line that says what to give instead."""
    with pytest.raises(UsageError) as caught:
        make_config(options)

    assert says in str(caught.value)


def test_one_round_or_no_search_goes_with_a_count() -> None:
    """The defaults, said."""
    assert make_config({"search": "none", "rounds": 1, "layers": 2}).layers == 2


def test_images_dir_needs_a_json() -> None:
    """The built-in scenes have their pictures; the option would be ignored."""
    with pytest.raises(UsageError, match="images_dir belongs to a COCO JSON"):
        make_config({"images_dir": "pictures"})


def test_the_command_line_goes_before_a_file() -> None:
    """An option that is given twice is the one on the command line, None is not given."""
    assert merged({"seed": 1, "conf": 0.5}, {"seed": 2, "conf": None}) == {
        "seed": 2,
        "conf": 0.5,
    }


def test_an_amount_on_the_command_line_replaces_the_file_s() -> None:
    """`--layers 3` with a file that says speedup = 2 is a run for 3 layers."""
    assert merged({"speedup": 2.0, "seed": 1}, {"layers": 3}) == {"layers": 3, "seed": 1}


@pytest.mark.parametrize(
    ("text", "size"),
    [("320", (320, 320)), ("256x320", (256, 320)), ("256X320", (256, 320)), (" 64 ", (64, 64))],
)
def test_imgsz_is_a_side_or_height_by_width(text: str, size: tuple[int, int]) -> None:
    """Height comes first."""
    assert parse_imgsz(text) == size


@pytest.mark.parametrize("text", ["", "x", "320x", "3.5", "-64", "64x64x64", "123456"])
def test_imgsz_of_another_form_is_refused(text: str) -> None:
    """The message shows both forms."""
    with pytest.raises(UsageError, match=r"\(320\) nor HEIGHTxWIDTH \(256x320\)"):
        parse_imgsz(text)


@pytest.mark.parametrize("written", ["320", '"320"', "[320, 320]", '"320x320"'])
def test_imgsz_in_a_file(written: str, tmp_path: Path) -> None:
    """A number, a text and a pair all mean the same."""
    path = tmp_path / "c.toml"
    path.write_text(f"imgsz = {written}\n")

    assert make_config(read_config(path)).imgsz == (320, 320)


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    """What `run.json` keeps is the same configuration again."""
    config = make_config({"imgsz": (64, 96), "layers": 3, "skip_bad": True})

    assert make_config(config.to_json()) == config


def test_every_option_belongs_to_a_stage() -> None:
    """No option can change without the stages after it running again."""
    assert set(STAGE_OF) == {field.name for field in fields(RunConfig)}
    assert set(options_until(STAGES[-1])) == set(STAGE_OF)
    assert "raw" not in options_until("prune")
    assert "model" in options_until("attribute")


def test_a_difference_is_said_in_the_words_of_the_command() -> None:
    """Sizes as they are typed, and what is not given by name."""
    assert difference("imgsz", [64, 96], None) == "--imgsz is 64x96 here and not given there"
    assert difference("latency_ms", 3.0, 4.0) == "--latency-ms is 3.0 here and 4.0 there"


def test_the_names_are_those_of_the_code_behind_them() -> None:
    """The lists stand here so that help and errors need no torch; they must not differ."""
    pytest.importorskip("torch")
    from xprune.attribution.criteria import CRITERIA
    from xprune.layers.substitutes import FAMILIES, SUBSTITUTES

    assert tuple(CRITERIA) == CRITERION_NAMES
    assert set(SUBSTITUTE_NAMES) == {*SUBSTITUTES, *FAMILIES, "auto"}
    assert make_config({}).speedup == DEFAULT_SPEEDUP
