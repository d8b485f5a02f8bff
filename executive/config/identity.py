"""Which node of the list am I?

1. `totem.nodeid`, if it is set.
2. A `bindnetaddr` that is exactly the address of a node, when that address is on this machine (how corosync users run
   several nodes on one machine).
3. corosync's rules, on `name` and `ring0_addr` of each node; the first match wins.  corosync asks for reverse names
   before it compares addresses; here everything that needs no name server comes first, so that a node starts promptly
   while the name server is down.  The outcome differs only for a list in which the rules contradict each other.

Several nodes with loopback addresses cannot be told apart by rule 3 (all of 127.0.0.0/8 is local), so it is not tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .host import IP_VERSIONS, Host, Unresolved, is_local, is_loopback, numeric


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node of the list."""

    node_id: int
    name: str
    """As configured; may be empty."""
    ring0: str
    """Address of the first link, as configured."""
    address: str
    """The same, numeric."""

    @property
    def words(self) -> tuple[str, ...]:
        """What host names are compared with."""
        return (self.name, self.ring0) if self.name else (self.ring0,)


class Unidentified(Exception):
    """This machine is none of the nodes, or could be several; the text says what to do."""


def identify(candidates: Sequence[Candidate], *, nodeid: int, bind: str, host: Host) -> Candidate:
    """The node that this machine is.  *nodeid* is `totem.nodeid` or 0, *bind* the first link's `bindnetaddr` or "".

    Raises:
        Unidentified: no rule, or no single node, matches.
    """
    if nodeid:
        return _by_node_id(candidates, nodeid)
    if found := by_bind_address(candidates, bind, host):
        return found
    if len(local := [candidate for candidate in candidates if is_loopback(candidate.address)]) > 1:
        addresses = ", ".join(candidate.address for candidate in local)
        raise Unidentified(
            f"No valid name found for local host: nodes {_ids(local)} all have loopback addresses ({addresses}), so "
            f"which of them this is must be said; set totem.nodeid to one of {_ids(candidates)}"
        )
    for candidate in _matches(candidates, host):
        return candidate
    addresses = ", ".join(str(own.ip) for own in host.local_addresses())
    raise Unidentified(
        f"No valid name found for local host: it is called '{host.host_name()}' and has the addresses {addresses}, "
        f"none of which is in the nodelist; correct name or ring0_addr of its node, or set totem.nodeid to one of "
        f"{_ids(candidates)}"
    )


def by_bind_address(candidates: Sequence[Candidate], bind: str, host: Host) -> Candidate | None:
    """The node whose address is exactly *bind*, if that is an address of this machine."""
    address = numeric(bind) if bind else None
    found = [candidate for candidate in candidates if candidate.address == address]
    return found[0] if found and is_local(found[0].address, host) else None


def _by_node_id(candidates: Sequence[Candidate], node_id: int) -> Candidate:
    for candidate in candidates:
        if candidate.node_id == node_id:
            return candidate
    raise Unidentified(f"totem.nodeid {node_id} is not in the nodelist; accepted: {_ids(candidates)}")


def _matches(candidates: Sequence[Candidate], host: Host) -> Iterator[Candidate]:
    """Nodes in the order in which the rules find them; lazily, since the last rules may ask a name server."""
    name = host.host_name()
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        yield from _called(candidates, ".".join(parts[:length]))
    yield from (c for c in candidates if any(parts[0] == word.partition(".")[0] for word in c.words))
    for own in host.local_addresses():
        yield from _called(candidates, str(own.ip))
    yield from (candidate for candidate in candidates if is_local(candidate.address, host))
    for own in host.local_addresses():
        if reverse := host.reverse_name(str(own.ip)):
            yield from _called(candidates, reverse)
            yield from _called(candidates, reverse.partition(".")[0])
    for candidate in candidates:
        if candidate.name and _resolves_to_local(candidate.name, host):
            yield candidate


def _called(candidates: Sequence[Candidate], word: str) -> Iterator[Candidate]:
    return (candidate for candidate in candidates if word in candidate.words)


def _resolves_to_local(name: str, host: Host) -> bool:
    try:
        return is_local(host.resolve(name, IP_VERSIONS["ipv6-4"]), host)
    except Unresolved:
        return False


def _ids(candidates: Sequence[Candidate]) -> str:
    return ", ".join(str(candidate.node_id) for candidate in candidates)
