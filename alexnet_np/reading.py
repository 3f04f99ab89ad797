"""Files that a user, or a stranger, gives: read with a bound, and compared with what they should hold.

    content = read_text(path, most=20_000)                 an ordinary file of at most so many bytes, in UTF-8
    settings = checked(path, json_value(content), Settings)     every value has the type that the dataclass says

Whoever reads a file says beside its reader how large the file may be.
"""

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    list: "a list",
    dict: "an object with names",
}
LARGEST = 2**63 - 1  # of a whole number
MOST_PARTS = 1_000_000  # lists and objects in a JSON text


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """What is in an ordinary file of at most ``most`` bytes.

    Raises OSError where it cannot be read; ValueError where it is larger, or a device or a pipe, which may never end.
    """
    size = ordinary_size(path)
    with open(path, "rb") as file:
        content = file.read(min(most, size) + 1)
    if len(content) > most:
        raise ValueError(f"{path}: expected a file of at most {most:,} bytes, got a larger one")
    return content


def ordinary_size(path: str | os.PathLike[str]) -> int:
    """The bytes of an ordinary file. OSError where there is none; ValueError for anything else, which may never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise ValueError(f"{path}: expected a file, got {kind}")
    return status.st_size


def read_text(path: str | os.PathLike[str], most: int) -> str:
    """The text in a file in UTF-8, without a byte-order mark. Errors: see read_bytes; ValueError for no UTF-8."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected text in UTF-8 ({error})") from error


def printable(name: str) -> str:
    """For a terminal: what would steer it is written as Python does, \\x1b."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def json_value(text: str | bytes, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; ``hook`` makes its objects. ValueError where that cannot be done.

    An empty list takes 2 bytes of text and 64 of memory: more than MOST_PARTS lists and objects are not made.
    """
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) > MOST_PARTS:  # type: ignore[arg-type]
        raise ValueError(f"it has more than {MOST_PARTS:,} lists and objects")
    try:
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def checked(where: object, value: Any, kind: Any) -> Any:
    """``value``, of JSON or TOML, as ``kind``; ValueError where it is of another type, with the way to it.

    ``kind`` is a dataclass, int, float, str, bool, None, list[...], Sequence[...], tuple[...], dict[str, ...], a union
    of them, or Any. ``where`` begins the message: the name of the file, say.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        arguments = checked_fields(where, value, kind)
        try:
            return kind(**arguments)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from error
    if origin in (Union, UnionType):
        return _one_of(where, value, inner)
    if origin in (list, Sequence):
        _check_type(where, value, list)
        if _all_are(value, inner[0]):
            return value
        return [checked(f"{where}: item {number}", item, inner[0]) for number, item in enumerate(value)]
    if origin is tuple:
        return _tuple(where, value, inner)
    if origin is dict:
        _check_type(where, value, dict)
        return {key: checked(f"{where}: {_name(key)}", item, inner[1]) for key, item in value.items()}
    if kind is float and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    _check_type(where, value, NoneType if kind is None else kind)
    return value


def checked_fields(where: object, value: Any, kind: type, **names: Any) -> dict[str, Any]:
    """The arguments of a dataclass: all of its fields, and no others. ``names``: what its annotations refer to."""
    _check_type(where, value, dict)
    own = [field.name for field in fields(kind) if field.init]
    if missing := sorted(set(own) - value.keys()):
        raise ValueError(f"{where}: expected {', '.join(missing)}, found none")
    if unknown := sorted(value.keys() - set(own)):
        raise ValueError(f"{where}: expected {', '.join(sorted(own))} only, got {', '.join(unknown)[:200]!r} too")
    hints = get_type_hints(kind, localns=names)
    return {name: checked(f"{where}: {name}", value[name], hints[name]) for name in own}


def some_fields(value: Any, names: Sequence[str]) -> Any:
    """An object with these names only; what is no object stays as it is, for ``checked`` to refuse."""
    return {name: value[name] for name in names if name in value} if isinstance(value, Mapping) else value


def _all_are(values: list[Any], kind: Any) -> bool:
    """Whether they are all texts, or whole numbers: a million of them are quickly told."""
    if kind not in (str, int) or not set(map(type, values)) <= {kind}:
        return False
    return kind is str or not values or -LARGEST <= min(values) <= max(values) <= LARGEST


def _one_of(where: object, value: Any, kinds: Sequence[Any]) -> Any:
    """As the kind that a value of its type can be; where there is none, what all of them are is said."""
    for kind in kinds:
        if type(value) is _type_of(kind) or (kind is float and type(value) is int):
            return checked(where, value, kind)
    raise ValueError(f"{where}: expected {' or '.join(map(_expected, kinds))}, got {value!r:.200}")


def _tuple(where: object, value: Any, inner: Sequence[Any]) -> tuple[Any, ...]:
    _check_type(where, value, list)
    kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
    if len(value) != len(kinds):
        raise ValueError(f"{where}: expected a list of {len(kinds)}, got {value!r:.200}")
    pairs = enumerate(zip(value, kinds, strict=True))
    return tuple(checked(f"{where}: item {number}", item, kind) for number, (item, kind) in pairs)


def _check_type(where: object, value: Any, kind: Any) -> None:
    if type(value) is not kind or (kind is int and abs(value) > LARGEST):
        raise ValueError(f"{where}: expected {_expected(kind)}, got {value!r:.200}")


def _expected(kind: Any) -> str:
    return NAMES[_type_of(kind)]


def _type_of(kind: Any) -> Any:
    """The type of JSON's values that can be such."""
    base: Any = dict if is_dataclass(kind) else get_origin(kind) or kind
    if base in (tuple, Sequence):
        return list
    return NoneType if base is None else base


def _name(key: str) -> str:
    return f"{key!r:.100}"
