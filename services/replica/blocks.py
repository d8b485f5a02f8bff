"""Building blocks for blocking programs."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any

from ...ipc.deadline import Deadline
from ..cpg.client import Client
from .client import Replica
from .driver import OnMembers
from .edits import adding, clearing, deleting, replacing, setting
from .mapping import MISSING, DictMachine, DictView, Key, OnChange
from .policy import Policy


class ReplicatedDict(DictView, MutableMapping[Key, Any]):
    """A dictionary that all members of a group share: read locally, written through the group.

    ```
    with totemd.Client() as client, totemd.replica.ReplicatedDict(client, "settings") as settings:
        settings["colour"] = "blue"
    ```
    Keys are `str` or `int`, values whatever msgpack holds; InvalidArgument says what that is, before anything is sent.
    A write returns when it has been applied here; a read shows what was applied here, after `sync` everything that was
    acknowledged to anybody.  Raises as `Replica.submit` does: TimeoutError if it is not certain in time, and may still
    be done.  Others' changes are taken in while a method runs: call `replica.process` regularly.
    """

    def __init__(
        self,
        client: Client,
        group: str | bytes,
        policy: Policy | None = None,
        *,
        on_change: OnChange | None = None,
        on_members: OnMembers | None = None,
        timeout: float | None = None,
        default_timeout: float | None = None,
    ) -> None:
        """Join, and wait until the content is here; raises TimeoutError if not within *timeout* seconds.

        *on_change* is called for each change with the key and the new value, or MISSING, *on_members* for each of the
        group; neither must write.  *default_timeout*: see there.
        """
        self._machine = DictMachine(on_change)
        self.default_timeout = default_timeout
        """Seconds within which a write or `sync` that is given no timeout is done: of those written with operators, and
        of `update` and `popitem`, it is the only one.  None: however long it takes.  May be changed."""
        deadline = Deadline(timeout)
        self.replica = Replica(client, group, self._machine, policy, on_members=on_members, timeout=timeout)
        try:
            self.replica.active(deadline.left)
        except BaseException:
            self.replica.close()
            raise

    def __setitem__(self, key: Key, value: Any) -> None:
        self._submit(setting({key: value}))

    def __delitem__(self, key: Key) -> None:
        self.pop(key)

    def __iter__(self) -> Iterator[Key]:
        return super().__iter__()

    def pop(self, key: Key, default: Any = MISSING, *, timeout: float | None = None) -> Any:
        """Take the key out; of several who do so, one gets the value."""
        value = self._submit(deleting(key), timeout)
        if value is not MISSING:
            return value
        if default is MISSING:
            raise KeyError(key)
        return default

    def update(self, *others: Any, **more: Any) -> None:
        """Set several keys in one step.  A `timeout=` would be one of them: see `default_timeout`."""
        self._submit(setting(dict(*others, **more)))

    def setdefault(self, key: Key, default: Any = None, *, timeout: float | None = None) -> Any:
        """The value of the key; if it has none, give it this one."""
        is_new, before = self._submit(replacing(key, MISSING, default), timeout)
        return default if is_new else before

    def compare_and_set(self, key: Key, expected: Any, value: Any, *, timeout: float | None = None) -> bool:
        """Set the key if its value is the expected one (MISSING: it has none; as the new one: take it out).

        Returns whether it was.
        """
        was_expected, _ = self._submit(replacing(key, expected, value), timeout)
        return bool(was_expected)

    def add(self, key: Key, amount: int | float = 1, *, timeout: float | None = None) -> int | float:
        """Add to a number (a key without a value counts as 0) and return the sum, which nobody else gets.

        Raises:
            Rejected: the value is no number, or the sum has more than 64 bits.
            InvalidArgument: the amount is no number, or has more than 64 bits; nothing was sent.
        """
        total: int | float = self._submit(adding(key, amount), timeout)
        return total

    def clear(self, *, timeout: float | None = None) -> None:
        """Take all keys out."""
        self._submit(clearing(), timeout)

    def sync(self, timeout: float | None = None) -> None:
        """Wait until everything that was acknowledged to anybody before is here."""
        self.replica.barrier(self.default_timeout if timeout is None else timeout)

    def close(self) -> None:
        """Leave the group."""
        self.replica.close()

    def _submit(self, command: bytes, timeout: float | None = None) -> Any:
        return self.replica.submit(command, self.default_timeout if timeout is None else timeout)

    def __enter__(self) -> ReplicatedDict:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
