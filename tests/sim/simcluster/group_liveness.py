"""What must be true of the groups once the faults have stopped, on nodes that form one ring.

L8   every join and leave has been answered, every client is connected, and its own messages have come back
L9   every node knows the same memberships, and they are those that the clients believe in
L10  all credit has been given back, and nothing is under way
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simcluster.machine import Machine
from totemd.services.cpg.audience import CREDIT_PARTS
from totemd.services.cpg.subscription import Stage, Subscription


def problem(machines: Sequence[Machine]) -> tuple[str, str] | None:
    """The first of L8 to L10 that does not hold now, and why; None if all hold."""
    for machine in machines:
        found = _unanswered(machine)
        if found is not None:
            return found
    return _disagreement(machines) or _owed(machines)


def _subscriptions(machine: Machine) -> Iterator[tuple[int, Subscription]]:
    for client in machine.clients:
        for subscription, _ in client.subscriptions:
            if subscription.stage is not Stage.CLOSED:
                yield client.pid, subscription


def _unanswered(machine: Machine) -> tuple[str, str] | None:
    where = f"node {machine.node_id}"
    if machine.cpg is None or not machine.cpg.engine.synchronised:
        return "L8", f"{where}: cpg is not synchronised"
    for client in machine.clients:
        if not client.alive or client.connection is None or not client.channel.introduced:
            return "L8", f"{where}: client {client.pid} is not connected"
    for pid, subscription in _subscriptions(machine):
        if subscription.stage is not Stage.JOINED:
            return "L8", f"{where}: client {pid} in {subscription.name} is still {subscription.stage.value}"
        missing = subscription.sent - subscription.delivered_back
        if missing:
            return "L8", f"{where}: {missing} messages of client {pid} in {subscription.name} have not come back"
    return None


def _disagreement(machines: Sequence[Machine]) -> tuple[str, str] | None:
    expected: dict[bytes, set[tuple[int, int]]] = {}
    for machine in machines:
        for pid, subscription in _subscriptions(machine):
            expected.setdefault(subscription.group, set()).add((machine.node_id, pid))
    for machine in machines:
        assert machine.cpg is not None
        state = machine.cpg.engine.state
        known = {group: {tuple(each) for each in state.members(group)} for group in state.groups()}
        if known != expected:
            return "L9", f"node {machine.node_id} knows {known}; the clients believe {expected}"
        for pid, subscription in _subscriptions(machine):
            members = {(member.node_id, member.pid) for member in subscription.members}
            if members != expected[subscription.group]:
                return "L9", f"client {pid} of node {machine.node_id} knows {sorted(members)} in {subscription.name}"
    return None


def _owed(machines: Sequence[Machine]) -> tuple[str, str] | None:
    for machine in machines:
        assert machine.cpg is not None
        where = f"node {machine.node_id}"
        under_way = sum(post.under_way for post in machine.posts())
        if under_way:
            return "L10", f"{where}: {under_way} messages between its processes have not arrived"
        if machine.cpg.on_the_way:
            return "L10", f"{where}: cpg owes its clients {machine.cpg.on_the_way} bytes of credit"
        told_late = {local.pid: local.owed for _, local in machine.cpg.locals()}
        for client in machine.clients:
            owed, full = told_late.get(client.pid, 0), machine.options.client_credit
            if client.channel._credit + owed != full or owed * CREDIT_PARTS >= full:
                return "L10", f"{where}: client {client.pid} has {client.channel._credit} bytes of credit left"
        link, outbox = machine.cpg.link, machine.cpg.engine._outbox
        if link is None or outbox._credit != min(link.credit, machine.options.service_credit):
            return "L10", f"{where}: cpg has {outbox._credit} bytes of credit left"
    return None
