"""The properties of extended virtual synchrony that compare processes with each other.

Source: docs/totem.md §9; Moser et al., Extended Virtual Synchrony (ICDCS 1994).  A process that failed in the
configuration, or is still in it at the end of the run, owes nothing: its `Ending` is not `CLOSED`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from simcluster.analysis import Analysis, Delivery, Ending, Epoch, Sending, Stay
from simcluster.history import MessageId, Regular, RingKey, Submitted, Transitional, as_worn, set_text
from simcluster.violation import Violation


def e7_same_cut(analysis: Analysis) -> Iterator[Violation]:
    """The members of T(a, b) are those that came from *a*, among all that installed *b*."""
    previous: dict[RingKey, dict[int, tuple[RingKey, Stay]]] = {}
    for life in analysis.lives:
        for before, after in pairwise(life.stays):
            previous.setdefault(after.ring, {})[life.process.node] = (before.ring, after)
    for life in analysis.lives:
        for stay, _ in pairwise(life.stays):
            if stay.transitional is None:
                continue
            change = stay.transitional.configuration
            assert isinstance(change, Transitional)
            for node, (came_from, other) in previous.get(change.new, {}).items():
                if (came_from == change.old) is not (node in change.members):
                    where = ((life.process, stay.transitional.serial), (other.process, other.regular.serial))
                    what = f"{change} at {life.process}, but node {node} came from {came_from}"
                    yield Violation("E7", stay.transitional.time, what, where)


def e8_failure_atomicity(analysis: Analysis) -> Iterator[Violation]:
    """Processes that go together from one configuration to the next have delivered the same messages in it."""
    groups: dict[object, Epoch] = {}
    for life in analysis.lives:
        epochs = list(life.epochs())
        for epoch, after in pairwise(epochs):
            step = (_identity(epoch), _identity(after))
            first = groups.setdefault(step, epoch)
            ours, theirs = set(epoch.messages()), set(first.messages())
            if ours == theirs:
                continue
            where = ((first.process, _last(first)), (epoch.process, _last(epoch)))
            what = (
                f"in {epoch.configuration}, going on together to {after.configuration}: "
                f"only {first.process} delivered {_names(theirs - ours)}; "
                f"only {epoch.process} delivered {_names(ours - theirs)}"
            )
            yield Violation("E8", epoch.time, what, where)


def e9_self_delivery(analysis: Analysis) -> Iterator[Violation]:
    """A process that goes on to the next configuration has delivered its own messages."""
    for life in analysis.lives:
        for stay in life.stays:
            if stay.ending is not Ending.CLOSED:
                continue
            delivered = {delivery.event.message for delivery in stay.deliveries()}
            for send in stay.sends:
                if send.event.message not in delivered:
                    what = f"{life.process} closed ring {stay.ring} without its own {send.event.message}"
                    yield Violation("E9", send.time, what, ((life.process, send.serial),))


def e11_agreed_prefix(analysis: Analysis) -> Iterator[Violation]:
    """What a process delivers in a regular configuration is a prefix of what anybody delivers in it."""
    for ring, stays in analysis.stays.items():
        union: dict[MessageId, Stay] = {}
        for stay in stays.values():
            for message in stay.regular.messages():
                union.setdefault(message, stay)
        order = sorted(union, key=lambda message: analysis.place(message, ring, -1))
        for stay in stays.values():
            for expected, delivery in zip(order, stay.regular.deliveries, strict=False):
                if expected != delivery.event.message:
                    other = union[expected]
                    where = ((stay.process, delivery.serial), (other.process, _serial_of(other, expected)))
                    what = (
                        f"{stay.process} delivered {delivery.event.message} in {stay.regular.configuration} "
                        f"without {expected} before it, as {other.process} did"
                    )
                    yield Violation("E11", delivery.time, what, where)
                    break


def e12_causal_order(analysis: Analysis) -> Iterator[Violation]:
    """Nothing is delivered before what its sender had delivered or sent before; each sender's messages in order."""
    contexts = {send.event.message: ctx for stay in _stays(analysis) for send, ctx in _contexts(analysis, stay)}
    for stay in _stays(analysis):
        yield from _gaps(analysis, stay, contexts)
        yield from _broken_prefix(analysis, stay)
    yield from _overtaken(analysis)


def _contexts(analysis: Analysis, stay: Stay) -> Iterator[tuple[Sending, int]]:
    """Each send with the highest place that its sender had delivered on the ring before it.

    What the sender itself had sent before is a dependency too, but what lies between is none: `_broken_prefix` sees to
    that half.
    """
    highest = -1
    deliveries = list(stay.deliveries())
    done = 0
    for send in stay.sends:
        while done < len(deliveries) and deliveries[done].serial < send.serial:
            highest = max(highest, analysis.place(deliveries[done].event.message, stay.ring, -1))
            done += 1
        yield send, highest


def _gaps(analysis: Analysis, stay: Stay, contexts: dict[MessageId, int]) -> Iterator[Violation]:
    order = analysis.order.get(stay.ring, [])
    missing = 0
    for delivery in stay.deliveries():
        message = delivery.event.message
        place = analysis.place(message, stay.ring, -1)
        if place == missing:
            missing += 1
        elif place > missing and contexts.get(message, -1) >= missing:
            lost = order[missing]
            what = f"{stay.process} delivered {message} without {lost.event.message}, which its sender had before it"
            yield Violation("E12", delivery.time, what, ((stay.process, delivery.serial), (lost.sender, lost.serial)))


def _broken_prefix(analysis: Analysis, stay: Stay) -> Iterator[Violation]:
    """A sender's messages on a ring arrive as a gapless prefix of what it sent there."""
    sent: dict[int, list[Sending]] = {}
    for send in analysis.order.get(stay.ring, []):
        sent.setdefault(send.sender.node, []).append(send)
    received: dict[int, int] = {}
    for delivery in stay.deliveries():
        sender = delivery.event.message.node
        count = received.get(sender, 0)
        received[sender] = count + 1
        expected = sent.get(sender, [])
        if count < len(expected) and expected[count].event.message != delivery.event.message:
            skipped = expected[count]
            what = f"{stay.process} delivered {delivery.event.message}; its sender's next is {skipped.event.message}"
            where = ((stay.process, delivery.serial), (skipped.sender, skipped.serial))
            yield Violation("E12", delivery.time, what, where)
            return


def _overtaken(analysis: Analysis) -> Iterator[Violation]:
    """Messages of one lane are sent in the order of their submission."""
    last: dict[object, Sending] = {}
    for stay in _stays(analysis):
        for send in stay.sends:
            entry = analysis.submissions.get(send.event.message)
            if entry is None or not isinstance(entry.event, Submitted):
                continue
            lane = (stay.process, entry.event.lane)
            before = last.get(lane)
            if before is not None and before.event.message.number > send.event.message.number:
                what = f"{stay.process}: {send.event} after {before.event}, against the order of submission"
                yield Violation("E12", send.time, what, ((stay.process, send.serial),))
            last[lane] = send


def e13_transitional_completeness(analysis: Analysis) -> Iterator[Violation]:
    """What a member of T(a, b) sent on *a* is delivered by everybody that goes through T(a, b)."""
    for stay in _stays(analysis):
        if stay.transitional is None or stay.ending is not Ending.CLOSED:
            continue
        delivered = {delivery.event.message for delivery in stay.deliveries()}
        for node in stay.transitional.configuration.members:
            theirs = analysis.stays[stay.ring].get(node)
            if theirs is None or theirs.ending is not Ending.CLOSED:
                continue
            for send in theirs.sends:
                if send.event.message not in delivered:
                    what = (
                        f"{stay.process} went through {stay.transitional.configuration} without {send.event.message} "
                        f"of its member {node}"
                    )
                    where = ((stay.process, stay.transitional.serial), (send.sender, send.serial))
                    yield Violation("E13", stay.transitional.time, what, where)
                    break


def e14_safe_delivery(analysis: Analysis) -> Iterator[Violation]:
    """A SAFE message delivered in a configuration is delivered by each of its members, unless that member fails."""
    delivered: dict[RingKey, dict[int, set[MessageId]]] = {}
    for ring, stays in analysis.stays.items():
        delivered[ring] = {
            node: {delivery.event.message for delivery in stay.deliveries()} for node, stay in stays.items()
        }
    reported: set[tuple[MessageId, int]] = set()
    for epoch, delivery in _safe_deliveries(analysis):
        ring, message = delivery.event.ring, delivery.event.message
        for node in epoch.configuration.members:
            stay = analysis.stays.get(ring, {}).get(node)
            if stay is None:
                if isinstance(epoch.configuration, Regular):
                    continue  # that is E15's to say
                what = f"node {node} was never in {ring}"
            elif stay.ending is not Ending.CLOSED or message in delivered[ring][node]:
                continue
            else:
                what = f"{stay.process} went on without it"
            if (message, node) not in reported:
                reported.add((message, node))
                where = [(epoch.process, delivery.serial)]
                if stay is not None:
                    where.append((stay.process, _last(stay.transitional or stay.regular)))
                what = f"{epoch.process} delivered SAFE {message} in {epoch.configuration}, but {what}"
                yield Violation("E14", delivery.time, what, tuple(where))


def e15_safe_implies_installed(analysis: Analysis) -> Iterator[Violation]:
    """A SAFE message is delivered in a regular configuration only if all its members have installed that."""
    reported: set[RingKey] = set()
    for epoch, delivery in _safe_deliveries(analysis):
        configuration = epoch.configuration
        if not isinstance(configuration, Regular) or configuration.ring in reported:
            continue
        missing = [node for node in configuration.members if node not in analysis.stays[configuration.ring]]
        if missing:
            reported.add(configuration.ring)
            what = f"{epoch.process} delivered SAFE {delivery.event.message} in {configuration}"
            what += f", never installed by {set_text(missing)}"
            yield Violation("E15", delivery.time, what, ((epoch.process, delivery.serial),))


def e20_primary_history(analysis: Analysis) -> Iterator[Violation]:
    """Primary configurations have one order, and two in a row share a member, who tells the next what it knows.

    Primary is a regular configuration of a majority of all nodes of the run.  It is by counting that two of them have
    a node in common, and by its ring sequence that this node takes them in order: also when its disk was lost, since
    the others of a majority remember.
    """
    primaries: dict[RingKey, Epoch] = {}
    highest: dict[int, RingKey] = {}
    voters = {life.process.node for life in analysis.lives}
    for stay in _stays(analysis):
        configuration, ring = stay.regular.configuration, as_worn(stay.ring)
        if 2 * len(configuration.members) <= len(voters):
            continue
        node = stay.process.node
        last = highest.get(node)
        if last is not None and ring <= last:
            what = f"{stay.process}: primary {configuration} after that of ring {last}"
            yield Violation("E20", stay.regular.time, what, ((stay.process, stay.regular.serial),))
        highest[node] = max(ring, last or ring)
        primaries.setdefault(ring, stay.regular)
    for (_, one), (_, other) in pairwise(sorted(primaries.items())):
        if not set(one.configuration.members) & set(other.configuration.members):
            what = f"primaries without a common member: {one.configuration}, then {other.configuration}"
            yield Violation("E20", other.time, what, ((one.process, one.serial), (other.process, other.serial)))


def _safe_deliveries(analysis: Analysis) -> Iterator[tuple[Epoch, Delivery]]:
    for life in analysis.lives:
        for epoch in life.epochs():
            for delivery in epoch.deliveries:
                if delivery.event.safe:
                    yield epoch, delivery


def _stays(analysis: Analysis) -> Iterator[Stay]:
    for life in analysis.lives:
        yield from life.stays


def _identity(epoch: Epoch) -> object:
    configuration = epoch.configuration
    return configuration.ring if isinstance(configuration, Regular) else (configuration.old, configuration.new)


def _last(epoch: Epoch) -> int:
    return epoch.deliveries[-1].serial if epoch.deliveries else epoch.serial


def _serial_of(stay: Stay, message: MessageId) -> int:
    return next(delivery.serial for delivery in stay.regular.deliveries if delivery.event.message == message)


def _names(messages: set[MessageId]) -> str:
    return ", ".join(str(message) for message in sorted(messages)) or "nothing"
