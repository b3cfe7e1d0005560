"""Checked values out of unchecked JSON; `test_manifest` has the many faults."""

from __future__ import annotations

import pytest

from runtime_bench.errors import EdgeError
from runtime_bench.json_fields import JsonFields


def test_values_come_out_as_they_are():
    """Each method returns the value in its Python type."""
    content = {
        "text": "a",
        "texts": ["b", "c"],
        "flag": True,
        "integer": 3,
        "integers": [1, 2],
        "number": 1,
        "numbers": [0.5, 2],
        "mapping": {"any": None},
        "child": {"inner": 1},
    }
    fields = JsonFields(content, source="f")

    assert fields.text("text", choices=("a", "b")) == "a"
    assert fields.texts("texts", most=2) == ("b", "c")
    assert fields.flag("flag") is True
    assert fields.integer("integer", least=0, most=3) == 3
    assert fields.integers("integers", count=2, least=1, most=2) == (1, 2)
    assert isinstance(fields.number("number", least=0, most=1), float)
    assert fields.numbers("numbers", count=2, least=0, most=2) == (0.5, 2.0)
    assert fields.mapping("mapping") == {"any": None}
    assert fields.child("child").integer("inner", least=1, most=1) == 1
    fields.finish()


def test_an_inner_field_is_named_by_its_path():
    """The path of an inner object is part of the message."""
    inner = JsonFields({"a": {"b": {"c": 5}}}, source="'f.json'").child("a").child("b")

    with pytest.raises(EdgeError) as caught:
        inner.integer("c", least=0, most=4)

    assert str(caught.value) == "'f.json': a.b.c must be from 0 to 4, not 5"


def test_what_is_no_object_at_all_is_refused():
    """The whole file may be of the wrong kind."""
    with pytest.raises(EdgeError, match=r"^f: it must be an object, not a list$"):
        JsonFields([], source="f")


def test_a_key_that_nobody_took_is_refused():
    """The unknown key is named; taking it makes the object complete."""
    with pytest.raises(EdgeError, match="has the unknown key 'extra'"):
        JsonFields({"extra": 1}, source="f").finish()
