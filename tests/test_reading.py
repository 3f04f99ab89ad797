"""Values of JSON against dataclasses, and files with a bound."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from hypothesis import given, strategies as st

from alexnet_np import data
from alexnet_np.reading import checked, json_value, read_bytes, read_text, some_fields


@dataclass(frozen=True)
class Inner:
    n: int
    x: float = 0.0

    def __post_init__(self):
        if self.n < 0:
            raise ValueError(f"n: expected at least 0, got {self.n}")


@dataclass(frozen=True)
class Outer:
    name: str | None
    names: Sequence[str]
    inner: Inner
    inners: list[Inner]
    pair: tuple[int, float]
    row: tuple[float, ...]
    numbers: dict[str, int | float]
    on: bool
    either: str | Inner | None
    anything: Any


OUTER = Outer("a", ["b"], Inner(1, 0.5), [Inner(2)], (1, 2.5), (0.5, 1.0), {"k": 1}, True, Inner(3), [{"z": None}])


def test_what_was_written_comes_back():
    assert checked("file", json.loads(json.dumps(asdict(OUTER))), Outer) == OUTER
    preparation = data.Preparation.photographs()
    assert checked("file", json.loads(json.dumps(asdict(preparation))), data.Preparation) == preparation


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"name": 3}, "file: name: expected text or null, got 3"),
        ({"names": "b"}, "file: names: expected a list, got 'b'"),
        ({"names": ["b", None]}, "file: names: item 1: expected text, got None"),
        ({"inner": []}, "file: inner: expected an object with names, got []"),
        ({"inner": {"n": 1}}, "file: inner: expected x, found none"),
        ({"inner": {"n": 1, "x": 1, "y": 2}}, "file: inner: expected n, x only, got 'y' too"),
        ({"inner": {"n": -1, "x": 1}}, "file: inner: n: expected at least 0, got -1"),
        ({"inner": {"n": True, "x": 1}}, "file: inner: n: expected a whole number, got True"),
        ({"inner": {"n": 1.0, "x": 1}}, "file: inner: n: expected a whole number, got 1.0"),
        ({"inner": {"n": 2**63, "x": 1}}, "file: inner: n: expected a whole number, got 9223372036854775808"),
        ({"inner": {"n": 1, "x": 10**400}}, "file: inner: x: expected a number, got 1000"),
        ({"inners": [{"n": 1, "x": "1"}]}, "file: inners: item 0: x: expected a number, got '1'"),
        ({"pair": [1]}, "file: pair: expected a list of 2, got [1]"),
        ({"row": [1, None]}, "file: row: item 1: expected a number, got None"),
        ({"numbers": {"k": "v" * 999}}, "file: numbers: 'k': expected a whole number or a number, got 'vvv"),
        ({"on": 1}, "file: on: expected true or false, got 1"),
        ({"either": 3}, "file: either: expected text or an object with names or null, got 3"),
    ],
)
def test_the_first_value_of_another_type_is_named(other, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the message follows
        checked("file", asdict(OUTER) | {"pair": [1, 2.5], "row": [0.5]} | other, Outer)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 400


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda s: st.lists(s)))
def test_any_value_is_taken_or_refused_in_a_sentence(value):
    for kind in (Outer, list[int], tuple[float, ...], dict[str, float], str | None, int):
        with suppress(ValueError):
            checked("file", value, kind)


def test_some_fields_are_left_out():
    assert some_fields({"n": 1, "more": 2}, ["n", "x"]) == {"n": 1}
    assert some_fields([1], ["n"]) == [1]


def test_json_has_bounds():
    with pytest.raises(ValueError, match="nested too deeply"):
        json_value("[" * 100_000)
    for text in ("[" + "[]," * 10**6 + "[]]", b"[" + b"{}," * 10**6 + b"{}]"):
        with pytest.raises(ValueError, match="more than 1,000,000 lists and objects"):
            json_value(text)
    assert json_value(b'{"a": [1]}') == {"a": [1]}


def test_files_have_bounds(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf12345")
    assert read_text(path, 8) == "12345"
    assert read_bytes(path, 8) == b"\xef\xbb\xbf12345"
    with pytest.raises(ValueError, match="a: expected a file of at most 7 bytes, got a larger one"):
        read_bytes(path, 7)
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        read_bytes(tmp_path, 7)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "b", 7)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="a: expected text in UTF-8"):
        read_text(path, 7)
