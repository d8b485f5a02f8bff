"""A counter that lives on every node at once: the smallest replicated state machine.

    python examples/counter.py [--add N]          (COROSYNC_RUN_DIR chooses the node)

Replicas that start from the same state and apply the same commands in the same order stay the same; the group gives
the order.  What is left to the application is how a replica gets the state that the others have:

- One that has none (it is new, or `Rejoined` told it that it was away) multicasts `Want`.  From the place where its
  own `Want` is delivered it keeps the commands that follow.
- Those that have the state answer with what it was at that place.  State plus kept commands is the present.
- When everybody wants and nobody has, all begin at 0, at the same place of the order.
- When two parts of a split cluster meet again, both have a state.  Here the part with the lowest member keeps its
  own and the other asks; a program that must not forget either would merge, or let only a majority work.
"""

from __future__ import annotations

import argparse
import asyncio

import msgspec
import totemd
from totemd import aio


class Add(msgspec.Struct, tag="add"):
    """A command: what everybody applies."""

    amount: int


class Want(msgspec.Struct, tag="want"):
    """The sender has no state."""

    number: int


class State(msgspec.Struct, tag="state"):
    """The answer to the `Want` with that number of that member."""

    member: totemd.Address
    number: int
    value: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Add | Want | State)


class Replica:
    """One member's copy of the counter."""

    def __init__(self, group: aio.Group) -> None:
        self._group = group
        self._me = group.address
        self._members: tuple[totemd.Address, ...] = ()
        self._value: int | None = None
        self._wants = 0
        self._wanting: set[totemd.Address] = set()
        self._kept: list[int] = []
        """Amounts that came after the own `Want`."""
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Apply what is delivered, for ever."""
        async for event in self._group:
            match event:
                case totemd.Message(sender, payload):
                    await self._apply(sender, _DECODER.decode(payload))
                case totemd.ConfigChange(members, joined):
                    await self._membership(members, joined)
                case totemd.Rejoined():
                    self._value = None

    async def add(self, amount: int) -> None:
        """Have everybody add *amount*, once there is something to add it to."""
        await self._ready.wait()
        await self._group.mcast(_ENCODER.encode(Add(amount)))

    async def _apply(self, sender: totemd.Address, command: Add | Want | State) -> None:
        match command:
            case Add(amount):
                self._kept.append(amount)
                if self._value is not None:
                    self._set(self._value + amount, f"{amount:+} =")
            case Want(number) if sender == self._me:
                self._kept.clear()
                self._wanting.add(sender)
            case Want(number):
                self._wanting.add(sender)
                if self._value is not None:
                    await self._group.mcast(_ENCODER.encode(State(sender, number, self._value)))
            case State(member, number, value):
                self._wanting.discard(member)
                if self._value is None and (member, number) == (self._me, self._wants):
                    self._set(value + sum(self._kept), "have the state:")
        if self._wanting >= set(self._members):
            self._wanting.clear()
            self._set(sum(self._kept) if self._value is None else self._value, "we begin:")

    async def _membership(self, members: tuple[totemd.Member, ...], joined: tuple[totemd.Member, ...]) -> None:
        came = {member.address for member in joined}
        self._members = tuple(member.address for member in members)
        if self._me not in came and self._members[0] in came and _is_reunion(joined):
            self._value = None
        self._wanting.clear()
        if self._value is None:
            self._wants += 1
            await self._group.mcast(_ENCODER.encode(Want(self._wants)))

    def _set(self, value: int, because: str) -> None:
        self._value = value
        self._ready.set()
        print(because, value, flush=True)


def _is_reunion(joined: tuple[totemd.Member, ...]) -> bool:
    return any(member.reason is totemd.Reason.NODE_UP for member in joined)


async def main() -> None:
    parser = argparse.ArgumentParser(description="A replicated counter.")
    parser.add_argument("--add", type=int, default=0, metavar="N", help="add N at the start")
    options = parser.parse_args()
    async with aio.Client() as client, client.join("counter") as group:
        replica = Replica(group)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(replica.run())
            if options.add:
                tasks.create_task(replica.add(options.add))


if __name__ == "__main__":
    asyncio.run(main())
