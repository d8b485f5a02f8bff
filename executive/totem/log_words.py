"""The ring's facts as log lines, in the words that corosync's users grep for (docs/operations.md lists them)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from ..runtime.logging import Logger
from .core.effects import Fact, Level
from .links.complaints import Complaints
from .wire.events import Dropped
from .wire.refusals import LOG_WORDS

Fields = dict[str, Any]


def say(log: Logger, complaints: Complaints, fact: Fact, now: float) -> None:
    """Log a fact: in corosync's words if it has some, in ours if an operator is to read it, else under its own name.

    What may come at every visit is said rarely, and values that are empty not at all.
    """
    fields = dict(fact.fields)
    if fact.event in _MANY:
        unsaid = complaints.admit(fact.event, now)
        if unsaid is None:
            return
        fields |= {"unsaid": unsaid} if unsaid else {}
    wording = WORDING.get(fact.event)
    texts = (fact.event,) if wording is None else wording(fields)
    kept = tuple(fields) if wording is None else _KEPT.get(fact.event, ())
    for text in texts:
        _LEVELS[fact.level](log)(text, **{name: fields[name] for name in kept if fields.get(name, ()) != ()})


def say_dropped(log: Logger, complaints: Complaints, event: Dropped, now: float) -> None:
    """Log what was dropped, if it is worth a line, at a bounded rate for each source and reason."""
    words = LOG_WORDS.get(event.refusal)
    host, port = event.source
    if words is not None and (unsaid := complaints.admit((event.refusal, host), now)) is not None:
        more = {"unsaid": unsaid} if unsaid else {}
        log.warning(words, source=f"{host}:{port}", **more)


def _numbers(nodes: tuple[int, ...]) -> str:
    return " ".join(map(str, nodes))


def _installed(fields: Fields) -> Iterator[str]:
    joined, left, clean = fields["joined"], fields["left"], fields["left_cleanly"]
    text = f"A new membership ({fields['ring']}) was formed. Members"
    if joined:
        text += f" joined: {_numbers(joined)}"
    if left:
        text += f" left: {_numbers(left)}"
    yield text
    if failed := tuple(node for node in left if node not in clean):
        yield f"Failed to receive the leave message. failed: {_numbers(failed)}"


def _gather(fields: Fields) -> Iterator[str]:
    state = "" if fields["state"] == "operational" else f" (in {fields['state']})"
    failed = f" failed: {_numbers(fields['failed'])}" if fields["failed"] else ""
    candidates = _numbers(fields["candidates"])
    yield f"Looking for a new membership: {fields['because']}{state}. Candidates: {candidates}{failed}"


def _leave(fields: Fields) -> Iterator[str]:
    yield f"Leaving the ring ({fields['ring']})."


def _consensus_timeout(fields: Fields) -> Iterator[str]:
    yield f"No consensus in time. Regarded as failed: {_numbers(fields['missing']) or 'nobody'}"


def _suspect(fields: Fields) -> Iterator[str]:
    failed = _numbers(fields["failed"]) or "nobody"
    yield f"The token does not get past node {fields['suspect']}. Regarded as failed: {failed}"


def _token_lost(fields: Fields) -> Iterator[str]:
    yield (
        f"A processor failed, forming new configuration: token timed out ({fields['timeout_ms']}ms), "
        f"waiting {fields['consensus_ms']}ms for consensus."
    )


def _overdue(fields: Fields) -> Iterator[str]:
    yield f"Token has not been received in {fields['waited_ms']} ms"


def _retransmit_list(fields: Fields) -> Iterator[str]:
    yield "Retransmit List: " + " ".join(f"{seq:x}" for seq in fields["missing"])


def _failed_to_receive(fields: Fields) -> Iterator[str]:
    yield f"FAILED TO RECEIVE: node {fields['node']} gets the token but not the messages"


def _apart(fields: Fields) -> Iterator[str]:
    yield (
        f"No ring is formed with node {fields['node']}: "
        "a link between its ring and this one does not work in both directions"
    )


def _other_options(fields: Fields) -> Iterator[str]:
    yield (
        f"Node {fields['node']} has other totem options or another node list than this one: "
        "until both have the same, the ring may be lost again and again"
    )


def _process_ended(fields: Fields) -> Iterator[str]:
    yield f"The totem process of node {fields['node']} has ended, forming new configuration."


def _node_removed(fields: Fields) -> Iterator[str]:
    yield f"Node {fields['node']} is not in the node list any more, forming new configuration."


def _process_gone(fields: Fields) -> Iterator[str]:
    yield f"Nobody listens any more at node {_numbers(fields['nodes'])}, forming new configuration."


WORDING: Final[dict[str, Callable[[Fields], Iterator[str]]]] = {
    "ring.installed": _installed,
    "ring.gather": _gather,
    "ring.leave": _leave,
    "ring.consensus_timeout": _consensus_timeout,
    "ring.suspect": _suspect,
    "ring.token_lost": _token_lost,
    "ring.token_overdue": _overdue,
    "ring.retransmit_list": _retransmit_list,
    "ring.failed_to_receive": _failed_to_receive,
    "ring.apart": _apart,
    "ring.other_options": _other_options,
    "ring.process_ended": _process_ended,
    "ring.process_gone": _process_gone,
    "ring.node_removed": _node_removed,
}
"""Every fact above level debug is here."""

_MANY: Final = frozenset({"ring.retransmit_list"})
"""What may happen at every visit of the token, and is said now and then."""

_KEPT: Final[dict[str, tuple[str, ...]]] = {
    "ring.installed": ("members", "because", "took_ms", "rounds"),
    "ring.retransmit_list": ("unsaid",),
}
"""Fields that follow the words as key=value."""

_LEVELS: Final[dict[Level, Callable[[Logger], Callable[..., None]]]] = {
    Level.DEBUG: lambda log: log.debug,
    Level.INFO: lambda log: log.info,
    Level.NOTICE: lambda log: log.notice,
    Level.WARNING: lambda log: log.warning,
    Level.ERROR: lambda log: log.err,
}
