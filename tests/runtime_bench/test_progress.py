"""Progress: a bar on a terminal, rare lines in a log, nothing when quiet."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from runtime_bench.progress import status_line, time_bar, track


@pytest.fixture
def log():
    """A console that is no terminal."""
    return Console(file=io.StringIO(), force_terminal=False, width=80)


def seconds_per_look(step_s):
    """Return a clock that moves on by `step_s` whenever it is read."""
    ticks = itertools.count()
    return lambda: next(ticks) * step_s


@pytest.mark.parametrize("is_terminal", [False, True])
def test_every_item_comes_through_in_order(is_terminal):
    """Showing progress changes nothing about the items, also of an iterator without length."""
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=80)

    items = list(track(iter(range(5)), label="counting", console=console))

    assert items == [0, 1, 2, 3, 4]


def test_a_short_loop_leaves_no_line_in_a_log(log):
    """Below two seconds nothing is written."""
    list(track(range(3), label="counting", console=log, clock=seconds_per_look(0.1)))

    assert log.file.getvalue() == ""


def test_a_long_loop_writes_a_line_now_and_then(log):
    """A line after two seconds, and then one every fifteen."""
    list(track(range(5), label="scoring [a]", console=log, clock=seconds_per_look(10.0)))

    assert (
        log.file.getvalue() == "scoring [a]: 1 of 5\nscoring [a]: 3 of 5\nscoring [a]: 5 of 5\n"
    )


def test_without_a_length_the_line_has_no_total(log):
    """An iterator of unknown length is counted all the same."""
    list(track(iter("ab"), label="reading", console=log, clock=seconds_per_look(10.0)))

    assert log.file.getvalue() == "reading: 1\n"


def test_quiet_shows_nothing():
    """Not even a terminal gets a bar."""
    console = Console(file=io.StringIO(), force_terminal=True)

    assert list(track(range(3), label="counting", quiet=True, console=console)) == [0, 1, 2]
    assert console.file.getvalue() == ""


def test_a_terminal_gets_a_bar():
    """The label and the count are on the screen."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)

    list(track(range(3), label="counting", console=console))

    assert "counting" in console.file.getvalue()
    assert "3/3" in console.file.getvalue()


def test_a_status_line_shows_its_text_on_a_terminal_as_it_is():
    """The latest one, brackets included, cut to the width."""
    console = Console(file=io.StringIO(), force_terminal=True, width=60)

    with status_line(console) as show:
        show("best [bold]plan[/bold] so far")
        console.print("between")
        show("x" * 200)
        console.print("at the end")

    shown = console.file.getvalue()
    assert "best [bold]plan[/bold] so far" in shown
    assert "x" * 40 in shown
    assert "x" * 61 not in shown


def test_a_status_line_is_quiet_in_a_log(log):
    """Nothing is written, however often it changes."""
    with status_line(log) as show:
        show("best so far")

    assert log.file.getvalue() == ""


def test_a_fixed_time_writes_a_line_now_and_then(log):
    """After two seconds and then every fifteen, with how it stands, brackets and all."""
    with time_bar("training", 60.0, console=log) as show:
        for second in range(0, 41, 4):
            show(float(second), f"best [{second}]")

    assert log.file.getvalue() == (
        "training: 4 of 60 s, best [4]\n"
        "training: 20 of 60 s, best [20]\n"
        "training: 36 of 60 s, best [36]\n"
    )


def test_without_a_time_to_come_to_only_what_passed_is_told(log):
    """And where there is nothing to say of how it stands, nothing is said."""
    with time_bar("timing", 0.0, console=log) as show:
        show(4.0, "")
    with time_bar("timing", 9.0, console=log, quiet=True) as show:
        show(4.0, "")

    assert log.file.getvalue() == "timing: 4 s\n"


def test_a_fixed_time_has_a_bar_on_a_terminal():
    """It shows the label, how it stands, and goes away at the end."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)

    with time_bar("training", 60.0, console=console) as show:
        show(30.0, "best 0.5")

    assert "training" in console.file.getvalue()
    assert "best 0.5" in console.file.getvalue()
