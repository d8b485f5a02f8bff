"""What the values of sam-run's options may look like.  Each refusal says what would be accepted."""

from __future__ import annotations

import grp
import math
import os
import pwd
import re
import resource
import signal
from pathlib import Path
from typing import Any

import click

from ..ipc.errors import InvalidArgument
from ..ipc.messages.sam import APP_NAME_LENGTH_MAX, APP_NAME_PATTERN, AppState
from .health import Check, Kind
from .launch import Identity
from .policy import Words
from .spec import ANY_STATE, NOTIFY_FD, Hook, ReadyBy

MILLISECONDS_MAX = 2**31 - 1
"""No time of an option is longer."""

UNLIMITED = "unlimited"

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)([KMGT]?)(?:i?B)?", re.IGNORECASE)

RLIMITS = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_")
}
"""Limits of a process by name, as in limits.conf(5) and prlimit(1): `nofile`, `core`, `as` …"""

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What the name of an environment variable looks like."""


class Option(click.Option):
    """An option with a place in the help text."""

    def __init__(self, *words: Any, group: str = "", **more: Any) -> None:
        super().__init__(*words, **more)
        self.group = group


def numbers(kind: click.IntRange | click.FloatRange) -> str:
    """What a range accepts, in words: `0 to 19`, `1 or more`."""
    least = f"{'more than ' if kind.min_open else ''}{kind.min:g}" if kind.min is not None else ""
    return f"{least} to {kind.max:.10g}" if kind.max is not None else f"{least} or more"


def _unfit(value: object, kind: click.IntRange | click.FloatRange, noun: str = "number", unit: str = "") -> Exception:
    return click.BadParameter(f"{str(value)!r} is no {noun} that fits; {numbers(kind)}{unit} would be accepted")


class Whole(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            raise _unfit(value, self) from None


class Fraction(click.FloatRange):
    """A number within bounds, with decimals if need be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            raise _unfit(value, self) from None
        if math.isnan(number):  # it compares with no bound
            raise _unfit(value, self)
        return number


class Milliseconds(click.IntRange):
    """A time; that it must not be longer than 24 days is no news that a help text should tell fifteen times."""

    def __init__(self, least: int, most: int = MILLISECONDS_MAX) -> None:
        super().__init__(least, most)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            raise _unfit(value, self, "time", " ms") from None

    def _describe_range(self) -> str:
        if self.max != MILLISECONDS_MAX:
            return super()._describe_range()
        return f"x>={self.min}" if self.min else ""


def signal_number(value: str) -> int:
    """A signal as kill(1) takes it: `TERM`, `SIGTERM` or `15`."""
    if value.isdecimal() and int(value) in signal.valid_signals():
        return int(value)
    word = value.upper()
    named = signal.Signals.__members__.get(word if word.startswith("SIG") else f"SIG{word}")
    if named is None:
        raise click.BadParameter(f"{value!r} is no signal; a name as TERM or SIGTERM, or its number, would be accepted")
    return int(named)


def restarts(value: str) -> int | None:
    """A number of restarts, or `unlimited` (None)."""
    if value == UNLIMITED:
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number, 0 or more, nor {UNLIMITED!r}")
    return int(value)


def policy_words(value: str) -> Words:
    """A policy: `restart`, `quit+quorum`."""
    try:
        return Words.parse(value)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from None


def exit_codes(value: str) -> frozenset[int]:
    """Exit codes between commas."""
    words = [word.strip() for word in value.split(",")] if value else []
    if not all(word.isdecimal() and int(word) <= 255 for word in words):
        raise click.BadParameter(f"{value!r} are no exit codes; numbers from 0 to 255 between commas would be accepted")
    return frozenset(map(int, words))


def size(value: str) -> int:
    """Bytes: `500K`, `200M`, `1.5G`."""
    match = _SIZE.fullmatch(value.strip())
    if match is None or not (number := round(float(match[1]) * _UNITS[match[2].upper()])):
        raise click.BadParameter(f"{value!r} is no size; bytes as 500K, 200M or 1.5G would be accepted")
    return number


def share(value: str) -> float:
    """A share of one processor: `90%`; two whole ones are `200%`."""
    text = value.strip().removesuffix("%")
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", text) or not float(text):
        raise click.BadParameter(f"{value!r} is no share of a processor; per cent of one as 90% would be accepted")
    return float(text) / 100


def umask(value: str) -> int:
    """File mode bits in octal, as umask(1) takes them."""
    if not re.fullmatch(r"[0-7]{1,4}", value) or int(value, 8) > 0o777:
        raise click.BadParameter(f"{value!r} is no umask; octal digits as 027 would be accepted")
    return int(value, 8)


def variable(value: str) -> tuple[str, str]:
    """`NAME=VALUE`."""
    name, equals, text = value.partition("=")
    if not equals or not VARIABLE.fullmatch(name):
        raise click.BadParameter(f"{value!r} is no variable; NAME=VALUE would be accepted")
    return name, text


def rlimit(value: str) -> tuple[int, tuple[int, int]]:
    """`NAME=SOFT[:HARD]`."""
    name, equals, text = value.partition("=")
    soft, _, hard = text.partition(":")
    which = RLIMITS.get(name.lower())
    numbers = [_limit(each) for each in ((soft, hard) if hard else (soft, soft))]
    if which is None or not equals or None in numbers:
        names = ", ".join(sorted(RLIMITS))
        raise click.BadParameter(
            f"{value!r} is no limit; NAME=SOFT[:HARD] would be accepted: a number or {UNLIMITED}, NAME one of {names}"
        )
    limits = (numbers[0] or 0, numbers[1] or 0)
    if limits[1] != resource.RLIM_INFINITY and not 0 <= limits[0] <= limits[1]:
        raise click.BadParameter(f"{value!r}: the soft limit is not above the hard one")
    return which, limits


def _limit(text: str) -> int | None:
    if text == UNLIMITED:
        return resource.RLIM_INFINITY
    return int(text) if text.isdecimal() and len(text) <= 18 else None


HOOK_STATES = tuple(
    state.value for state in AppState if state not in (AppState.ORPHANED, AppState.LOST, AppState.WAITING)
)
"""The states that sam-run sees its application enter."""

DESCRIPTOR_MAX = 1023
"""The highest number of a descriptor by which an application says that it is ready."""

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/]+):(\d{1,5})")
_URL = re.compile(r"http://(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/@?#]+)(?::(\d{1,5}))?((?:/|\?)[!-~]*)?")


def host_and_port(text: str) -> tuple[str, int] | None:
    """`host:port`, an IPv6 address in brackets; None if it is none."""
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or not 0 < int(match[2]) <= 65535:
        return None
    return match[1].strip("[]"), int(match[2])


def url_parts(text: str) -> tuple[str, str, int, str] | None:
    """`http://host:port/path` as the Host field, host, port, and path with query; None if it is none."""
    match = _URL.fullmatch(text)
    if match is None or not 0 < int(match[2] or 80) <= 65535:
        return None
    path = match[3] or "/"
    host = match[1] + (f":{match[2]}" if match[2] else "")
    return host, match[1].strip("[]"), int(match[2] or 80), path if path.startswith("/") else f"/{path}"


def check(value: str) -> Check:
    """A health check."""
    kind, colon, target = value.partition(":")
    match kind:
        case Kind.EXEC if target.strip():
            return Check(Kind.EXEC, target)
        case Kind.TCP if host_and_port(target):
            return Check(Kind.TCP, target)
        case Kind.HTTP:
            url = value if target.startswith("//") else target
            if url_parts(url):
                return Check(Kind.HTTP, url)
        case Kind.HEARTBEAT if not colon:
            return Check(Kind.HEARTBEAT)
    accepted = "exec:COMMAND, http://HOST[:PORT]/PATH, tcp:HOST:PORT or heartbeat"
    hint = " (https: by exec:curl …)" if kind == "https" else ""
    raise click.BadParameter(f"{value!r} is no health check; {accepted} would be accepted{hint}")


def readiness(value: str) -> tuple[ReadyBy, int]:
    """How an application says that it is ready, and on which descriptor if so."""
    word, colon, number = value.partition(":")
    if word == ReadyBy.FD and (not colon or (number.isdecimal() and 3 <= int(number) <= DESCRIPTOR_MAX)):
        return ReadyBy.FD, int(number or NOTIFY_FD)
    if value not in (ReadyBy.NOTIFY, ReadyBy.PROBE):
        accepted = f"notify, fd, fd:N (3 to {DESCRIPTOR_MAX}) or probe"
        raise click.BadParameter(f"{value!r} is no sign of readiness; {accepted} would be accepted")
    return ReadyBy(value), NOTIFY_FD


def hook(value: str) -> Hook:
    """`STATE=COMMAND`."""
    state, _, command = value.partition("=")
    if state not in (ANY_STATE, *HOOK_STATES) or not command.strip():
        states = ", ".join((ANY_STATE, *HOOK_STATES))
        raise click.BadParameter(f"{value!r} is no hook; STATE=COMMAND would be accepted, STATE one of {states}")
    return Hook(state, command)


def app_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A callback of click: the name of an application."""
    if value is not None and (len(value) > APP_NAME_LENGTH_MAX or not re.fullmatch(APP_NAME_PATTERN, value)):
        allowed = f"1 to {APP_NAME_LENGTH_MAX} letters, digits and _.@:+-, the first a letter, a digit or _"
        raise click.BadParameter(f"{value!r} is no name; {allowed} would be accepted")
    return value


def identity(user: str | None, group: str | None) -> Identity | None:
    """The user and group to be, by names or numbers; the user's own groups unless another is named.

    Raises:
        click.UsageError: there is no such user or group.
    """
    if user is None and group is None:
        return None
    entry = None if user is None else _user(user)
    if group is not None:
        gid = _group(group)
    elif entry is not None:
        gid = entry.pw_gid
    else:
        raise click.UsageError(f"--uid {user}: nobody has this number; --gid would be needed with it")
    uid = os.getuid() if user is None else entry.pw_uid if entry else int(user)
    groups = tuple(os.getgrouplist(entry.pw_name, gid)) if entry else (gid,)
    return Identity(uid, gid, groups)


def home_of(identity: Identity) -> dict[str, str]:
    """The variables in which programs look for who they are."""
    try:
        entry = pwd.getpwuid(identity.uid)
    except KeyError:
        return {}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}


def _user(text: str) -> pwd.struct_passwd | None:
    """The user of this name or number; None for a number that nobody has."""
    try:
        return pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except KeyError:
        if text.isdecimal():
            return None
    raise click.UsageError(f"--uid {text}: there is no such user; a name or a number would be accepted")


def _group(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise click.UsageError(f"--gid {text}: there is no such group; a name or a number would be accepted") from None


def variables_of_file(path: Path) -> dict[str, str]:
    """The variables of a file as systemd and docker read it: `NAME=VALUE` lines, `#` comments, quotes around a value.

    Raises:
        click.UsageError: it cannot be read, or a line is none of these.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--env-file {path}: {getattr(error, 'strerror', None) or error}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not VARIABLE.fullmatch(name.strip()):
            raise click.UsageError(f"{path}:{number}: {line!r} is no variable; NAME=VALUE would be accepted")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = value
    return found
