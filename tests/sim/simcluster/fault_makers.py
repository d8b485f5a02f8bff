"""Makers of faults beyond those of `fault_plan`: storms, flapping links, forged bytes, local processes, disks."""

from __future__ import annotations

from simcluster.chance import Chance
from simcluster.faults import Crash, CutLinks, Fault, Heal, Leave, Trap
from simcluster.faults_local import (
    Corrupt,
    Forge,
    ForgeReports,
    JoinGroup,
    KillClient,
    KillService,
    KillTotem,
    LeaveGroup,
    Record,
    Reload,
    Replay,
    SlowDisk,
    StepWallClock,
    StopClient,
    StopService,
    Wipe,
)
from simcluster.options import TOKEN, Options

WIPE_GAP_LOW, WIPE_GAP_HIGH = 4.0, 6.0
"""Seconds between two replacements of a machine: all are in one ring again, and know the highest sequence."""
WIPE_DOWNTIME_LOW, WIPE_DOWNTIME_HIGH = 0.005, 1.5
LOCAL_SECONDS_LOW, LOCAL_SECONDS_HIGH = 0.002, 1.5
"""How long local processes are down, or stand still."""
WRITE_SECONDS_LOW, WRITE_SECONDS_HIGH = 0.002, TOKEN / 3
RELOAD_LOW, RELOAD_HIGH = 0.2, 5.0
"""By what timeouts are changed."""
WALL_CLOCK_STEP_MAX = 1e8
FLAPS_MAX = 6
RESTARTS_MAX = 5
FORGED_REPORTS_MAX = 100
BYTES_PER_STRANGER_MAX = 40

RING_EVENTS = ("TransitionalConfiguration", "RegularConfiguration", "recovery", "operational", "Originated", "Deliver")
"""Where it hurts the services most."""


def forged_reports(options: Options) -> list[tuple[float, Fault]]:
    """Of closed ports, about living and dead nodes alike."""
    made: list[tuple[float, Fault]] = []
    for index in range(options.endings.forged if options.nodes > 1 else 0):
        chance = Chance(options.seed, "forged report", index)
        at, about = _link(chance, options.nodes)
        fault = ForgeReports(at, about, chance.integer(1, FORGED_REPORTS_MAX))
        made.append((chance.between(0, options.fault_seconds), fault))
    return made


def flapping(chance: Chance, nodes: int) -> list[Fault]:
    """A link, or one direction of it, that comes and goes."""
    link = _link(chance, nodes)
    links = (link,) if chance.happens(0.5) else (link, (link[1], link[0]))
    flaps = chance.integer(2, FLAPS_MAX)
    return [CutLinks(links, cut) for _ in range(flaps) for cut in (True, False)]


def storm_of_restarts(chance: Chance, nodes: int) -> list[Fault]:
    """One after the other, all at the same time, or one again and again."""
    everybody = tuple(range(1, nodes + 1))
    match chance.integer(0, 3):
        case 0:
            return [Crash((node,), (chance.spread(0.005, TOKEN),)) for node in everybody]
        case 1:
            down = chance.spread(0.005, TOKEN)
            return [Crash(everybody, (down,) * nodes)]
        case 2:
            restless = chance.integer(1, nodes)
            return [Crash((restless,), (0.005,)) for _ in range(chance.integer(2, RESTARTS_MAX))]
        case _:
            return [Leave(node, chance.spread(0.005, TOKEN)) for node in everybody]


def torn_write(chance: Chance, nodes: int) -> list[Fault]:
    """A node dies while it stores a ring sequence: the old one is still there."""
    node = chance.integer(1, nodes)
    downtime = chance.spread(0.005, 2 * TOKEN)
    return [Trap(node, "Persisting", chance.integer(0, 3), Crash((node,), (downtime,)))]


def slow_disk(chance: Chance, nodes: int) -> list[Fault]:
    """Storing a ring sequence takes long, on some or on all nodes."""
    seconds = chance.spread(0.1, 4 * TOKEN)
    slow = chance.shuffled(list(range(1, nodes + 1)))[: chance.choice((1, nodes))]
    return [SlowDisk(node, chance.spread(WRITE_SECONDS_LOW, WRITE_SECONDS_HIGH), seconds) for node in slow]


def reload(chance: Chance, nodes: int) -> list[Fault]:
    """Timeouts are changed on one node, or on all of them, one after the other."""
    heartbeat = chance.choice((0.0, 0.0, TOKEN / 2, TOKEN * 3 / 4))
    if chance.happens(0.5):
        return [Reload(chance.integer(1, nodes), chance.spread(RELOAD_LOW, RELOAD_HIGH), heartbeat)]
    factor = chance.choice((1.0, chance.spread(RELOAD_LOW, RELOAD_HIGH)))
    return [Reload(node, factor, heartbeat) for node in chance.shuffled(list(range(1, nodes + 1)))]


def corrupt(chance: Chance, nodes: int) -> list[Fault]:
    """A bad cable."""
    links = () if chance.happens(0.5) else (_link(chance, nodes),)
    kind = chance.choice(((), (), ("Token",), ("Mcast",), ("Join",)))
    return [Corrupt(kind, links, chance.choice((0.05, 0.3, 1.0)), chance.spread(0.01, 2 * TOKEN))]


def stranger(chance: Chance, nodes: int) -> list[Fault]:
    """Somebody without the key records, plays again, and makes things up."""
    count = chance.integer(1, BYTES_PER_STRANGER_MAX)
    match chance.integer(0, 2):
        case 0:
            return [Record(), Replay(count, chance.bits() >> 1)]
        case 1:
            return [Record(), Heal(), Replay(count, chance.bits() >> 1), Replay(count, chance.bits() >> 1)]
        case _:
            return [Forge(chance.integer(1, nodes), count, chance.bits() >> 1)]


def wall_clock(chance: Chance, nodes: int) -> list[Fault]:
    """The time of day jumps."""
    return [StepWallClock(chance.between(-WALL_CLOCK_STEP_MAX, WALL_CLOCK_STEP_MAX))]


def wipes(options: Options) -> list[tuple[float, Fault]]:
    """Machines that are replaced, one at a time, while all others are there."""
    chance = Chance(options.seed, "wipes")
    time = chance.between(WIPE_GAP_LOW, WIPE_GAP_HIGH)
    planned: list[tuple[float, Fault]] = []
    while time < options.fault_seconds:
        downtime = chance.spread(WIPE_DOWNTIME_LOW, WIPE_DOWNTIME_HIGH)
        planned.append((time, Wipe(chance.integer(1, options.nodes), downtime)))
        time += chance.between(WIPE_GAP_LOW, WIPE_GAP_HIGH)
    return planned


def local_actions(options: Options) -> list[tuple[float, Fault]]:
    """What clients ask for, and what happens to the processes above the ring."""
    if options.groups is None:
        return []
    actions = int(options.groups.actions * options.fault_seconds)
    return [_local_action(options, Chance(options.seed, "local action", index)) for index in range(actions)]


def _local_action(options: Options, chance: Chance) -> tuple[float, Fault]:
    assert options.groups is not None
    time = chance.between(0, options.fault_seconds)
    node, client = chance.integer(1, options.nodes), chance.integer(0, options.groups.clients - 1)
    group = chance.integer(0, options.groups.groups - 1)
    seconds = chance.spread(LOCAL_SECONDS_LOW, LOCAL_SECONDS_HIGH)
    kind = chance.weighted(_KINDS)
    fault: Fault
    match kind:
        case "join":
            fault = JoinGroup(node, client, group)
        case "leave":
            fault = LeaveGroup(node, client, group)
        case "kill client":
            fault = KillClient(node, client, seconds)
        case "stop client":
            fault = StopClient(node, client, seconds)
        case "kill service":
            fault = KillService(node, seconds)
        case "stop service":
            fault = StopService(node, seconds)
        case "kill totem":
            fault = KillTotem(node, seconds)
        case _:
            inner: Fault = KillService(node, seconds) if chance.happens(0.7) else KillTotem(node, seconds)
            fault = Trap(chance.integer(1, options.nodes), chance.choice(RING_EVENTS), chance.integer(0, 2), inner)
    return time, fault


_KINDS = (
    (5.0, "join"),
    (3.0, "leave"),
    (1.5, "kill client"),
    (1.5, "stop client"),
    (1.0, "kill service"),
    (0.5, "stop service"),
    (0.5, "kill totem"),
    (1.5, "trap"),
)


def _link(chance: Chance, nodes: int) -> tuple[int, int]:
    sender, receiver = chance.shuffled(range(1, nodes + 1))[:2]
    return sender, receiver
