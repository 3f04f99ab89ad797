"""How tests/fuzz.py changes files: bytes, and values of JSON and TOML."""

import random
from typing import Any

EXTREMES = (0, 1, -1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30, 10**4000)
ODD: tuple[Any, ...] = (
    *(None, True, False, "", "a", "\x1b[31m", "\ud800", "\0", "x" * 5000, "1", "nan", "../../etc/passwd"),
    *(0.5, -0.5, 1e308, 1e-320, float("nan"), float("inf"), -float("inf")),
    *([], {}, [[]], [None], {"a": {}}, [1, 2, 3], ["a"] * 1000, {"": ""}),
)


def changed_bytes(rng: random.Random, content: bytes) -> bytes:
    """With one to four changes of bits, pieces or numbers."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        # Most of what decides anything stands at the ends.
        if rng.random() < 0.5:
            place = min(place, rng.randrange(200)) if rng.random() < 0.7 else max(0, len(data) - rng.randrange(1, 200))
        length = min(rng.choice((1, 2, 4, 8, 16, 64, 512)), len(data) - place)
        other = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0:
                del data[place:]
            case 1 if length:
                data[rng.randrange(place, place + length)] ^= 1 << rng.randrange(8)
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[other : other + length]
            case 4:
                data[place : place + length] = rng.randbytes(length)
            case 5:
                data[place : place + length] = rng.choice((b"\0", b"\xff", b"\x7f", b"0", b"7")) * length
            case 6:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(EXTREMES) % 256**size
                data[place : place + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 7:
                data[place : place + length] = data[other : other + length]
    return bytes(data)


def changed_value(rng: random.Random, value: Any) -> Any:
    """A copy of a JSON value with one to three keys or values changed."""
    box = [copied(value)]
    for _ in range(rng.randint(1, 3)):
        places = list(_places(box))
        holder, key = rng.choice(places)
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1:
                holder[key] = rng.choice(EXTREMES)
            case 2:
                other, other_key = rng.choice(places)
                holder[key] = copied(other[other_key])
            case 3 if isinstance(holder, list):
                holder[key:key] = [copied(holder[key])] * rng.choice((1, 2, 1000))
            case 3 | 4 if isinstance(holder, dict):
                holder[rng.choice(("a", "", "__class__", "\x1b", "x" * 3000, str(key).upper()))] = holder.pop(key)
            case 5 if isinstance(holder[key], str):
                holder[key] = rng.choice((holder[key] * 500, holder[key][:-1], list(holder[key]), holder[key] + "\0"))
            case 5 if isinstance(holder[key], int | float):
                holder[key] = rng.choice(
                    (
                        -holder[key],
                        holder[key] + 1,
                        holder[key] * 0.5 if abs(holder[key]) < 1e300 else 0.0,
                        str(holder[key]),
                    )
                )
            case 6:
                holder[key] = rng.choice(({"a": holder[key]}, [holder[key]]))
            case _:
                holder[key] = copied(rng.choice(ODD))
        if not box:
            break
    return box[0] if box else None


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def _places(value: Any) -> Any:
    """Where in lists and dicts another value can stand."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def nested(rng: random.Random) -> str:
    """JSON that is deeper than any reader can follow."""
    return rng.choice(("[" * 100_000, '{"a":' * 50_000, "[" * 900 + "]" * 900))
