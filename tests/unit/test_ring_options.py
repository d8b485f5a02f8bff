"""What a reload of the ring's options changes on a ring that stands, and what is said where nodes differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ringbus import Bus
from structlog.testing import CapturingLogger
from totemd.executive.totem.core.backoff import MergeBackoff
from totemd.executive.totem.core.context import backoff_constants
from totemd.executive.totem.core.effects import Fact, Level, Multicast, Scope
from totemd.executive.totem.core.parameters import RingParameters
from totemd.executive.totem.core.ring import Ring
from totemd.executive.totem.core.submission import Submission
from totemd.executive.totem.core.timers import Timer
from totemd.executive.totem.links.complaints import COMPLAINT_SECONDS, Complaints
from totemd.executive.totem.log_words import say
from totemd.executive.totem.wire.packets import Join, MergeDetect
from totemd.ipc.ids import Guarantee, RingId
from totemd.ipc.messages.stream import Lane

PARAMETERS = RingParameters(
    1,
    token=1.0,
    token_retransmit=0.238,
    hold=0.18,
    join=0.05,
    consensus=1.2,
    merge=0.2,
    heartbeat=0.5,
    token_warning=0.7,
)


def standing() -> Ring:
    ring = Ring(PARAMETERS, 1, lambda: 0.5)
    ring._context.timers.arm(Timer.HEARTBEAT, 10.5)
    ring._context.timers.arm(Timer.LOSS_WARNING, 10.7)
    return ring


def test_a_timer_that_is_switched_off_does_not_fire_any_more() -> None:
    ring = standing()
    ring.reconfigure(PARAMETERS)
    assert ring.next_deadline() == 10.5
    ring.reconfigure(replace(PARAMETERS, heartbeat=0.0))
    assert ring.next_deadline() == 10.7
    ring.reconfigure(replace(PARAMETERS, heartbeat=0.0, token_warning=0.0))
    assert ring.next_deadline() is None


def test_the_back_off_grows_with_the_token_timeout() -> None:
    ring = standing()
    longer = replace(PARAMETERS, token=10.0, consensus=12.0)
    ring.reconfigure(longer)
    assert vars(ring._context.backoff) == vars(MergeBackoff(*backoff_constants(longer)))
    assert backoff_constants(longer) == (20.0, 160.0, pytest.approx(backoff_constants(PARAMETERS)[2] * 10), 22.0)


@pytest.mark.parametrize("heartbeat", [0.0, 0.2])
@pytest.mark.parametrize("members", [1, 2, 3, 9, 16, 32])
def test_a_ring_of_which_all_put_the_token_off_is_not_lost(members: int, heartbeat: float) -> None:
    parameters = replace(PARAMETERS, heartbeat=heartbeat)
    assert members * parameters.park_seconds(members) <= (heartbeat or parameters.token) / 4


def test_what_of_a_node_differs_is_said_once() -> None:
    def said(ring: Ring, digest: int, now: float) -> list[Any]:
        ring.receive(Join((2,), (), 1, 0, False, digest), 2, now)  # it has not heard us: no agreement yet
        return [dict(each.fields) for each in ring.take_effects() if isinstance(each, Fact) and "options" in each.event]

    ring = Ring(replace(PARAMETERS, options_digest=7), 1, lambda: 0.5)
    ring.start(10.0)
    ring.take_effects()
    assert said(ring, 7, 10.1) == []
    assert said(ring, 8, 10.2) == [{"node": 2}]
    assert said(ring, 8, 10.3) == [], "once"
    assert said(ring, 9, 10.4) == [{"node": 2}], "they differ in another way"
    assert said(ring, 7, 10.5) == [], "a reload has mended it"
    assert said(ring, 8, 10.6) == [{"node": 2}], "and this is news again"


def test_a_ring_whose_timeouts_differ_by_ten_stands() -> None:
    """A token that rests for the hold time of one would be lost for the other."""
    bus = Bus()
    patient = replace(bus.parameters(3, 0.0), token=10.0, token_retransmit=2.4, hold=1.8, options_digest=5)
    bus.rings[3].reconfigure(patient)
    bus.rings[1].gather(bus.now)
    bus._effects(1)
    bus.until(bus.survivors_are(1, 2, 3), 20.0)
    for ring in bus.rings.values():
        ring.services_synchronised(bus.now)
    before = bus.rings[1].installed
    bus.rings[3].submit(Submission(1, Lane.APPLICATION, Guarantee.AGREED, b"x"), bus.now)
    bus._effects(3)
    bus.run(30.0)
    assert [ring.installed for ring in bus.rings.values()] == [before] * 3
    assert bus.rings[3].counters["token.held"] > 100, "it rests there"


def test_who_gets_a_merge_detect() -> None:
    packet = MergeDetect(RingId(4, 1), (3,), ())
    announced = Multicast(packet, Scope.ALL, (1, 2))
    assert announced.receivers(1, (1, 2, 3)) == (2, 3), "members too: they learn whom each other hears"
    assert Multicast(packet, Scope.ALL, (1, 2, 3)).receivers(1, (2, 3)) == (), "nobody is outside"
    join = Multicast(Join((1,), (), 4, 0, False, 0), Scope.ALL)
    assert join.receivers(1, (1, 2, 3)) == (2, 3)
    assert Multicast(packet, Scope.RING, (1, 2)).receivers(2, (1, 2, 3)) == (1,)


def test_retransmit_lists_are_said_at_a_bounded_rate() -> None:
    log, complaints = CapturingLogger(), Complaints()
    for visit in range(1000):
        fact = Fact("ring.retransmit_list", Level.NOTICE, (("missing", (visit + 16,)),))
        say(log, complaints, fact, visit * COMPLAINT_SECONDS / 500)  # type: ignore[arg-type]
    said = [(call.args[0], call.kwargs) for call in log.calls]
    assert said == [("Retransmit List: 10", {}), ("Retransmit List: 204", {"unsaid": 499})]
