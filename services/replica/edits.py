"""What a program wants done with a dictionary, as the command that says it.

Everything is looked at before it is sent: what a command cannot hold is the caller's mistake, and no other replica's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ipc.errors import InvalidArgument
from .mapping import MISSING, NUMBERS, TEXT, WHOLE_NUMBER, Add, Clear, Delete, Key, Replace, Set, encode, raw


def setting(items: Mapping[Key, Any]) -> bytes:
    """Give the keys these values.

    Raises:
        InvalidArgument: a key or a value that a dictionary cannot hold; the text says what it can.
        TypeError: a value of a class that msgpack has nothing for.
    """
    return encode(Set({_checked(key): raw(value) for key, value in items.items()}))


def deleting(key: Key) -> bytes:
    """Take the key out; raises as `setting`."""
    return encode(Delete(_checked(key)))


def clearing() -> bytes:
    """Take all keys out."""
    return encode(Clear())


def replacing(key: Key, expected: Any, value: Any) -> bytes:
    """Give the key a value if its present one is as expected; MISSING stands for none.  Raises as `setting`."""
    old, new = (None if each is MISSING else bytes(raw(each)) for each in (expected, value))
    return encode(Replace(_checked(key), old, new))


def adding(key: Key, amount: int | float) -> bytes:
    """Add to the key's number.

    Raises:
        InvalidArgument: that is no key, or no number that msgpack holds.
    """
    if not (isinstance(amount, float) or _is_whole(amount)):
        raise InvalidArgument(f"an amount is a float, or {WHOLE_NUMBER}, not {amount!r}")
    return encode(Add(_checked(key), amount))


def _checked(key: Key) -> Key:
    if not (_is_text(key) or _is_whole(key)):
        raise InvalidArgument(f"a key is {TEXT}, or {WHOLE_NUMBER}, not {key!r}")
    return key


def _is_text(given: object) -> bool:
    if not isinstance(given, str):
        return False
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(given: object) -> bool:
    # A range would be searched from its beginning for a number of a subclass, an IntEnum's say.
    return isinstance(given, int) and not isinstance(given, bool) and NUMBERS.start <= given < NUMBERS.stop
