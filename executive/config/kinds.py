"""Types of option values: how a value's text is read, what is accepted, and how the reference page says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

Value = int | str | bool
"""What an option's text becomes."""

U8_MAX = 2**8 - 1
U16_MAX = 2**16 - 1
U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1
I32_MIN, I32_MAX = -(2**31), 2**31 - 1

_INTEGER = re.compile(r"-?[0-9]{1,20}\Z")
_FLOAT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?\Z")


class Kind(Protocol):
    """One type of value."""

    @property
    def accepts(self) -> str:
        """What may be written, for people."""

    def read(self, path: str, text: str) -> Value:
        """The value that *text* stands for; *path* names the option in the message.

        Raises:
            ValueError: not acceptable; the text says what would be.
        """


@dataclass(frozen=True, slots=True)
class Integer:
    """A decimal integer within bounds."""

    low: int = 0
    high: int = U32_MAX
    unit: str = ""

    @property
    def accepts(self) -> str:
        return f"{self.low} to {self.high}{' ' * bool(self.unit)}{self.unit}"

    def read(self, path: str, text: str) -> int:
        if _INTEGER.match(text) and self.low <= int(text) <= self.high:
            return int(text)
        raise ValueError(
            f'Value of key "{path}" is expected to be integer in range ({self.low}..{self.high}), '
            f'but "{text}" was given'
        )


@dataclass(frozen=True, slots=True)
class Exactly:
    """One integer and no other; `wrong` starts the message."""

    value: int
    wrong: str

    @property
    def accepts(self) -> str:
        return str(self.value)

    def read(self, path: str, text: str) -> int:
        if text == str(self.value):
            return self.value
        raise ValueError(f'{self.wrong}, but {path} is "{text}"; accepted: {self.value}')


@dataclass(frozen=True, slots=True)
class Flag:
    """corosync's other boolean: 0 or 1."""

    accepts: str = "0 or 1"

    def read(self, path: str, text: str) -> bool:
        return bool(Integer(0, 1).read(path, text))


@dataclass(frozen=True, slots=True)
class Switch:
    """A boolean in words.  corosync takes yes/no here and on/off there; both are accepted everywhere."""

    accepts: str = "yes, no, on or off"

    def read(self, path: str, text: str) -> bool:
        if text in {"yes", "on"}:
            return True
        if text in {"no", "off"}:
            return False
        raise ValueError(f'unknown value for {_key(path)}: "{text}"; accepted: {self.accepts}')


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a list; `wrong` starts the message as corosync words it."""

    words: tuple[str, ...]
    wrong: str = ""

    @property
    def accepts(self) -> str:
        *most, last = self.words
        return f"{', '.join(most)} or {last}" if most else last

    def read(self, path: str, text: str) -> str:
        if text in self.words:
            return text
        wrong = self.wrong or f"unknown value for {_key(path)}"
        raise ValueError(f'{wrong}. Should be {self.accepts}, but "{text}" was given')


@dataclass(frozen=True, slots=True)
class Text:
    """Any text, the empty one only where it means "none"."""

    accepts: str = "text"
    may_be_empty: bool = True
    high: int = 0
    """Most bytes; 0 = what fits a line."""

    def read(self, path: str, text: str) -> str:
        if not text and not self.may_be_empty:
            raise ValueError(f"{path} is empty; accepted: {self.accepts}")
        if self.high and len(text.encode()) > self.high:
            raise ValueError(f"{path} has {len(text.encode())} bytes; at most {self.high} are accepted")
        return text


@dataclass(frozen=True, slots=True)
class FilePath:
    """A path; relative ones start at the directory of the configuration file (see `collect`)."""

    accepts: str = "a path"

    def read(self, path: str, text: str) -> str:
        if text:
            return text
        raise ValueError(f"{path} is empty; accepted: {self.accepts}")


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A host name or a numeric address.  Whether it can be resolved is seen later."""

    accepts: str = "an address or a host name"

    def read(self, path: str, text: str) -> str:
        if text and not re.search(r"\s", text):
            return text
        raise ValueError(f'{path}: "{text}" is neither an address nor a host name')


@dataclass(frozen=True, slots=True)
class KeyText:
    """The cluster key itself, as text; its bytes are the key."""

    low_bits: int
    high_bits: int

    @property
    def accepts(self) -> str:
        return f"text of {self.low_bits // 8} to {self.high_bits // 8} bytes"

    def read(self, path: str, text: str) -> str:
        bits = 8 * len(text.encode())
        if self.low_bits <= bits <= self.high_bits:
            return text
        size = "short" if bits < self.low_bits else "long"
        raise ValueError(f"{path}: key is too {size}: {bits} bits; {self.low_bits} to {self.high_bits} are accepted")


@dataclass(frozen=True, slots=True)
class NiceValue:
    """`max`, `min` or a nice value."""

    accepts: str = f"max, min, or {I32_MIN} to {I32_MAX}"

    def read(self, path: str, text: str) -> str:
        return text if text in {"max", "min"} else str(Integer(I32_MIN, I32_MAX).read(path, text))


@dataclass(frozen=True, slots=True)
class TieBreaker:
    """Which node decides between two halves."""

    accepts: str = "lowest, highest, or node ids separated by blanks"

    def read(self, path: str, text: str) -> str:
        words = text.split()
        if text in {"lowest", "highest"}:
            return text
        if words and all(_INTEGER.match(word) and 1 <= int(word) <= U32_MAX for word in words):
            return " ".join(words)
        raise ValueError(f'{path}: "{text}" is no tie breaker; accepted: {self.accepts}')


@dataclass(frozen=True, slots=True)
class Decimal:
    """A number that is not negative, perhaps with a fraction; kept as text, as cmap does."""

    accepts: str = "a number of at least 0"

    def read(self, path: str, text: str) -> str:
        if _FLOAT.match(text):
            return text
        raise ValueError(f'Value of key "{path}" is expected to be a number of at least 0, but "{text}" was given')


def _key(path: str) -> str:
    return path.rpartition(".")[2]
