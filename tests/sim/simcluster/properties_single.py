"""The properties of extended virtual synchrony that concern one process, one message or one identifier at a time.

Source: docs/totem.md §9; Moser et al., Extended Virtual Synchrony (ICDCS 1994).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from simcluster.analysis import Analysis, Delivery, Epoch, Life, Sending, Stay
from simcluster.history import (
    REBORN,
    Incarnation,
    Lane,
    Regular,
    RingKey,
    Submitted,
    Transitional,
    as_worn,
    set_text,
)
from simcluster.violation import Violation


def e1_no_creation(analysis: Analysis) -> Iterator[Violation]:
    """What is delivered was sent before, on the ring that the delivery names."""
    for life in analysis.lives:
        for delivery in life.deliveries():
            sends = analysis.sends.get(delivery.event.message)
            if sends is None:
                yield _at(delivery, life, "E1", f"{delivery.event}: nobody sent it")
            elif sends[0].serial > delivery.serial:
                yield _at(delivery, life, "E1", f"{delivery.event}: sent only later", sends[0])
            elif all(send.event.ring != delivery.event.ring for send in sends):
                yield _at(delivery, life, "E1", f"{delivery.event}: sent on {sends[0].event.ring}", sends[0])


def e2_no_duplication(analysis: Analysis) -> Iterator[Violation]:
    """A process delivers a message at most once."""
    for life in analysis.lives:
        seen: dict[object, Delivery] = {}
        for delivery in life.deliveries():
            first = seen.setdefault(delivery.event.message, delivery)
            if first is not delivery:
                where = ((life.process, first.serial), (life.process, delivery.serial))
                yield Violation("E2", delivery.time, f"{life.process}: {delivery.event} a second time", where)


def e3_one_send(analysis: Analysis) -> Iterator[Violation]:
    """A message is sent at most once, by the process that it was submitted to, in a regular configuration."""
    for message, sends in analysis.sends.items():
        first = sends[0]
        for again in sends[1:]:
            where = ((first.sender, first.serial), (again.sender, again.serial))
            yield Violation("E3", again.time, f"{message} sent twice", where)
        if first.sender != Incarnation(message.node, message.boot) or message not in analysis.submissions:
            yield _sent(first, "E3", f"{message} was never submitted to {first.sender}")
    for stay, send in _sends(analysis):
        if stay.ring != send.event.ring:
            yield _sent(send, "E3", f"{send.event} while in {stay.regular.configuration}")


def e4_right_configuration(analysis: Analysis) -> Iterator[Violation]:
    """A message is delivered in the configuration, regular or transitional, of the ring that it was sent on."""
    for life in analysis.lives:
        for delivery in life.strays:
            yield _at(delivery, life, "E4", f"{delivery.event} before any configuration")
        for stay in life.stays:
            for epoch in stay.epochs():
                for delivery in epoch.deliveries:
                    problem = _misplaced(stay, epoch, delivery)
                    if problem:
                        yield _at(delivery, life, "E4", f"{delivery.event} {problem} {epoch.configuration}")


def _misplaced(stay: Stay, epoch: Epoch, delivery: Delivery) -> str:
    if delivery.event.ring != stay.ring:
        return "in"
    if delivery.event.in_transitional is not (epoch is stay.transitional):
        return "marked otherwise than"
    if epoch.process.node not in epoch.configuration.members:
        return "by an outsider of"
    return ""


def e5_configuration_agreement(analysis: Analysis) -> Iterator[Violation]:
    """The same identifier means the same configuration everywhere."""
    known: dict[object, Epoch] = {}
    for life in analysis.lives:
        for epoch in life.epochs():
            configuration = epoch.configuration
            identity = configuration.ring if isinstance(configuration, Regular) else configuration[:2]
            first = known.setdefault((type(configuration), identity), epoch)
            if first.configuration.members != configuration.members:
                where = ((first.process, first.serial), (epoch.process, epoch.serial))
                yield Violation("E5", epoch.time, f"{first.configuration} but also {configuration}", where)


def e6_configuration_chain(analysis: Analysis) -> Iterator[Violation]:
    """R0 = {me}, then T(R0, R1), R1, T(R1, R2) …: the process a member of each, ring ids rising over all boots."""
    highest: dict[tuple[int, int], RingKey] = {}
    for life in analysis.lives:
        # A node whose disk was taken by a fault does not know which ring ids it had.
        disk = life.process.node, life.process.boot // REBORN
        before: Stay | None = None
        for stay in life.stays:
            yield from _chain_link(life, before, stay)
            ring, last = as_worn(stay.ring), highest.get(disk)
            if last is not None and ring <= last:
                yield _epoch(stay.regular, "E6", f"ring {ring} after ring {last}")
            highest[disk] = ring
            before = stay


def _chain_link(life: Life, before: Stay | None, stay: Stay) -> Iterator[Violation]:
    now, me = stay.regular, life.process.node
    configuration = now.configuration
    assert isinstance(configuration, Regular)
    members = configuration.members
    if list(members) != sorted(set(members)) or me not in members:
        yield _epoch(now, "E6", f"{configuration} at node {me}: not an ascending list with it")
    if before is None:
        if members != (me,):
            yield _epoch(now, "E6", f"the first configuration is {configuration}, not the node alone")
        return
    if before.transitional is None:
        yield _epoch(now, "E6", f"{configuration} follows {before.regular.configuration} without a transition")
        return
    yield from _transition(before, configuration, me)


def _transition(before: Stay, new: Regular, me: int) -> Iterator[Violation]:
    assert before.transitional is not None
    change, old = before.transitional.configuration, before.regular.configuration
    assert isinstance(change, Transitional)
    assert isinstance(old, Regular)
    if (change.old, change.new) != (old.ring, new.ring):
        yield _epoch(before.transitional, "E6", f"{change} lies between {old} and {new}")
    if me not in change.members or set(change.members) - set(old.members) or set(change.members) - set(new.members):
        yield _epoch(before.transitional, "E6", f"{change} is no part of both {old} and {new} with node {me}")
    left = tuple(node for node in old.members if node not in change.members)
    if change.left != left:
        yield _epoch(before.transitional, "E6", f"{change}: {set_text(left)} left {old}")
    joined = tuple(node for node in new.members if node not in change.members)
    if new.survivors != change.members or new.joined != joined:
        what = f"{new}: survivors {set_text(new.survivors)}, joined {set_text(new.joined)} after {change}"
        yield _epoch(before.transitional, "E6", what)


def e10_total_order(analysis: Analysis) -> Iterator[Violation]:
    """Places on a ring belong to one sender each, and every process delivers in rising order of places."""
    for order in analysis.order.values():
        for one, other in pairwise(order):
            if one.event.position == other.event.position and one.sender != other.sender:
                where = ((one.sender, one.serial), (other.sender, other.serial))
                yield Violation("E10", other.time, f"{one.event} and {other.event} share a place", where)
    for life in analysis.lives:
        for stay in life.stays:
            last, last_delivery = -1, None
            for delivery in stay.deliveries():
                sends = analysis.sends.get(delivery.event.message)
                if sends is None or sends[0].event.ring != stay.ring:
                    continue
                if sends[0].event.position != delivery.event.position:
                    yield _at(delivery, life, "E10", f"{delivery.event}, but {sends[0].event}", sends[0])
                place = analysis.place(delivery.event.message, stay.ring, -1)
                if place < last:
                    yield _at(delivery, life, "E10", f"{life.process}: {delivery.event} after {last_delivery}")
                last, last_delivery = place, delivery.event


def e16_whole_messages(analysis: Analysis) -> Iterator[Violation]:
    """What arrives is what was submitted, with the guarantee that was asked for."""
    for life in analysis.lives:
        for delivery in life.deliveries():
            entry = analysis.submissions.get(delivery.event.message)
            if entry is None:
                continue
            submitted = entry.event
            assert isinstance(submitted, Submitted)
            if submitted.digest != delivery.event.digest:
                yield _at(delivery, life, "E16", f"{delivery.event}: other bytes than submitted")
            elif submitted.safe != delivery.event.safe:
                yield _at(delivery, life, "E16", f"{delivery.event}: another guarantee than in '{submitted}'")


def e17_quiet_transition(analysis: Analysis) -> Iterator[Violation]:
    """No send in a transitional configuration; no application message between a ring's installation and its sync."""
    for stay, send in _sends(analysis):
        if stay.transitional is not None and send.serial > stay.transitional.serial:
            yield _sent(send, "E17", f"{send.event} in {stay.transitional.configuration}")
        if _is_application(analysis, send) and _before_sync(stay, send.serial):
            yield _sent(send, "E17", f"{send.event} before the state exchange of {stay.ring} was complete")
    for life in analysis.lives:
        for stay in life.stays:
            for delivery in stay.deliveries():
                sends = analysis.sends.get(delivery.event.message)
                if sends and _is_application(analysis, sends[0]) and _before_sync(stay, delivery.serial):
                    what = f"{delivery.event} before the state exchange of {stay.ring} was complete here"
                    yield _at(delivery, life, "E17", what, sends[0])


def e18_sync_place(analysis: Analysis) -> Iterator[Violation]:
    """A ring's state exchange is complete at the same place of the order at all processes that complete it."""
    known: dict[RingKey, tuple[Life, Stay]] = {}
    for life in analysis.lives:
        for stay in life.stays:
            if stay.synchronised is None:
                continue
            first_life, first = known.setdefault(stay.ring, (life, stay))
            assert first.synchronised is not None
            if first.synchronised.event != stay.synchronised.event:
                where = (
                    (first_life.process, first.synchronised.serial),
                    (life.process, stay.synchronised.serial),
                )
                what = f"'{first.synchronised.event}', but '{stay.synchronised.event}'"
                yield Violation("E18", stay.synchronised.time, what, where)


def _sends(analysis: Analysis) -> Iterator[tuple[Stay, Sending]]:
    for life in analysis.lives:
        for stay in life.stays:
            for send in stay.sends:
                yield stay, send


def _is_application(analysis: Analysis, send: Sending) -> bool:
    entry = analysis.submissions.get(send.event.message)
    return entry is not None and isinstance(entry.event, Submitted) and entry.event.lane is Lane.APPLICATION


def _before_sync(stay: Stay, serial: int) -> bool:
    return stay.synchronised is None or stay.synchronised.serial > serial


def _at(delivery: Delivery, life: Life, prop: str, what: str, send: Sending | None = None) -> Violation:
    where = [(life.process, delivery.serial)]
    if send is not None:
        where.append((send.sender, send.serial))
    return Violation(prop, delivery.time, what, tuple(where))


def _sent(send: Sending, prop: str, what: str) -> Violation:
    return Violation(prop, send.time, what, ((send.sender, send.serial),))


def _epoch(epoch: Epoch, prop: str, what: str) -> Violation:
    return Violation(prop, epoch.time, f"{epoch.process}: {what}", ((epoch.process, epoch.serial),))
