"""Settings of a command in a TOML file: a key for each flag, without dashes and with _ between words.

    epochs = 30
    batch_size = 128
    data = "photographs"

Flags on the command line win. ``read`` and ``write`` take the argparse parser of the command for the list
of settings: a new flag is a key at once.
"""

import argparse
import difflib
import json
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import written_whole
from ..reading import printable, read_text
from .common import flag

MAX_BYTES = 20_000  # of a file; a run's has 2,000, and the parser takes a second for a hostile one of this size
NO_SETTINGS = ("help", "config", "resume")
NOT_WRITTEN = ("out", "json")  # each run has a folder of its own


def read(path: Path, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The settings in a file, as the parser would have them from flags.

    FileNotFoundError; or ValueError for what is no TOML, an unknown key or a value that a flag would not take.
    """
    if not path.exists():
        raise FileNotFoundError(f"config: there is no file {path}")
    text = read_text(path, MAX_BYTES)
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path}: cannot be read as TOML (it is nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as TOML ({error!s:.200})") from error
    actions = _actions(parser)
    settings = {}
    for key, value in values.items():
        if key not in actions:
            nearest = difflib.get_close_matches(key[:100], actions, n=1)
            hint = f", did you mean {nearest[0]}?" if nearest else f" (there are {', '.join(sorted(actions))})"
            raise ValueError(f"{path}: unknown setting {printable(key):.200}{hint}")
        try:
            settings[key] = _converted(actions[key], value)
        except (argparse.ArgumentTypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}: {key}: {error}") from error
    return settings


def write(path: Path, parser: argparse.ArgumentParser, values: Mapping[str, Any]) -> None:
    """Every setting that has a value, in the groups of the command's help. The file appears whole or not at all."""
    # A path may have line breaks, which would end the comment.
    lines = [f"# Repeat this run: alexnet-np train --config {printable(shlex.quote(str(path)))}"]
    actions = _actions(parser)
    for group in parser._action_groups:
        keys = [action.dest for action in group._group_actions if action.dest in actions]
        keys = [key for key in keys if key not in NOT_WRITTEN and values.get(key) is not None]
        if keys:
            lines += ["", f"# {group.title}", *(f"{key} = {_toml(values[key])}" for key in keys)]
    with written_whole(path) as unfinished:
        unfinished.write_text("\n".join([*lines, ""]), encoding="utf-8")


def check_texts(values: Mapping[str, Any]) -> None:
    """ValueError for a text that no TOML file can hold: a file's name that is not UTF-8."""
    for name, value in values.items():
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            expected = "expected a name in UTF-8, for the run's files to hold"
            raise ValueError(f"{flag(name)}: {expected}, got {printable(str(value)):.200}") from error


def outside_group(parser: argparse.ArgumentParser, title: str) -> list[str]:
    """The settings that are not in this group of the command's help."""
    inside = {a.dest for group in parser._action_groups if group.title == title for a in group._group_actions}
    return [name for name in _actions(parser) if name not in inside]


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {action.dest: action for action in parser._actions if action.dest not in NO_SETTINGS}


def _converted(action: argparse.Action, value: Any) -> Any:
    """A value of TOML as argparse has it from a flag."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, got {value!r:.200}")
        return value
    if isinstance(action.nargs, int) or action.nargs in ("*", "+"):
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {value!r:.200}")
        return [_one(action, item) for item in value]
    return _one(action, value)


def _one(action: argparse.Action, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number or a text, got {value!r:.200}")
    make: Any = action.type or str
    value = make(str(value))
    if action.choices is not None and value not in action.choices:
        raise ValueError(f"expected one of {', '.join(map(str, action.choices))}, got {value!r:.200}")
    return value


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # A JSON string is a TOML string, but for one character that TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
