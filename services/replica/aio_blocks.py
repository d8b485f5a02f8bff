"""The replicated dictionary for asyncio programs."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..cpg.aio import Client
from .aio import Replica
from .driver import OnMembers
from .edits import adding, clearing, deleting, replacing, setting
from .mapping import MISSING, DictMachine, DictView, Key, OnChange
from .policy import Policy


class ReplicatedDict(DictView):
    """A dictionary that all members of a group share: read locally, written through the group.

    ```
    async with totemd.aio.Client() as client, totemd.replica.aio.ReplicatedDict(client, "settings") as settings:
        await settings.set("colour", "blue")
        print(settings["colour"])
    ```
    As the blocking one, except that what writes is awaited.
    """

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        policy: Policy | None = None,
        *,
        on_change: OnChange | None = None,
        on_members: OnMembers | None = None,
    ) -> None:
        """Nothing is sent yet; `async with` joins, and waits until the content is here."""
        self._machine = DictMachine(on_change)
        self.replica = Replica(client, group, self._machine, policy, on_members=on_members)

    async def set(self, key: Key, value: Any) -> None:
        """Give the key a value."""
        await self.replica.submit(setting({key: value}))

    async def update(self, *others: Any, **more: Any) -> None:
        """Set several keys in one step."""
        await self.replica.submit(setting(dict(*others, **more)))

    async def delete(self, key: Key) -> None:
        """Take the key out.

        Raises:
            KeyError: it was not there.
        """
        await self.pop(key)

    async def pop(self, key: Key, default: Any = MISSING) -> Any:
        """Take the key out; of several who do so, one gets the value."""
        value = await self.replica.submit(deleting(key))
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    async def compare_and_set(self, key: Key, expected: Any, value: Any) -> bool:
        """Set the key if its value is the expected one (MISSING: it has none; as the new one: take it out).

        Returns whether it was.
        """
        was_expected, _ = await self.replica.submit(replacing(key, expected, value))
        return bool(was_expected)

    async def setdefault(self, key: Key, default: Any = None) -> Any:
        """The value of the key; if it has none, give it this one."""
        is_new, before = await self.replica.submit(replacing(key, MISSING, default))
        return default if is_new else before

    async def add(self, key: Key, amount: int | float = 1) -> int | float:
        """Add to a number (a key without a value counts as 0) and return the sum, which nobody else gets.

        Raises:
            Rejected: the value is no number, or the sum has more than 64 bits.
            InvalidArgument: the amount is no number, or has more than 64 bits; nothing was sent.
        """
        total: int | float = await self.replica.submit(adding(key, amount))
        return total

    async def clear(self) -> None:
        """Take all keys out."""
        await self.replica.submit(clearing())

    async def sync(self) -> None:
        """Wait until everything that was acknowledged to anybody before is here."""
        await self.replica.barrier()

    async def __aenter__(self) -> ReplicatedDict:
        await entered(self.replica)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.replica.close()


async def entered(replica: Replica) -> None:
    """Join, and wait until the state is here."""
    await replica.start()
    try:
        await replica.active()
    except BaseException:
        await replica.close()
        raise
