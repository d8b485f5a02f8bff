"""totemd: closed process groups with one order of messages and membership changes on every node.

```
import totemd

with totemd.Client() as client, client.join("chat") as group:
    group.mcast(b"hello")
    for event in group:
        match event:
            case totemd.Message(sender, payload): ...
            case totemd.ConfigChange(members, joined, left): ...
            case totemd.RingChange() | totemd.Rejoined(): ...
```
`totemd.aio` is the same for asyncio, `totemd.quorum` votes, `totemd.replica` replicated state, `totemd.sam` the
availability manager, `totemd.testing` clusters for tests; all but the first are imported when they are first used.
Importing this package connects to nothing.
"""

import importlib
import typing

from . import aio as aio
from .ipc.errors import (
    AccessDenied,
    AlreadyMember,
    ConnectionLost,
    Expelled,
    GroupNameTooLong,
    InvalidArgument,
    MessageTooLarge,
    NotMember,
    OperationFailed,
    ProtocolError,
    TotemdError,
    TryAgain,
)
from .ipc.ids import GROUP_NAME_BYTES_MAX, MESSAGE_BYTES_MAX, Address, Guarantee, Member, Reason, RingId
from .services.cpg.client import Client
from .services.cpg.events import ConfigChange, Event, Message, Rejoined, RingChange
from .services.cpg.group import Group

if typing.TYPE_CHECKING:
    from . import quorum as quorum
    from . import replica as replica
    from . import sam as sam
    from . import testing as testing
else:
    # Type checkers do not see this, or they would take every misspelt name for a module.
    _ON_DEMAND = ("quorum", "replica", "sam", "testing")

    def __getattr__(name: str) -> object:
        if name not in _ON_DEMAND:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f".{name}", __name__)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_ON_DEMAND})


__all__ = [
    "GROUP_NAME_BYTES_MAX",
    "MESSAGE_BYTES_MAX",
    "AccessDenied",
    "Address",
    "AlreadyMember",
    "Client",
    "ConfigChange",
    "ConnectionLost",
    "Event",
    "Expelled",
    "Group",
    "GroupNameTooLong",
    "Guarantee",
    "InvalidArgument",
    "Member",
    "Message",
    "MessageTooLarge",
    "NotMember",
    "OperationFailed",
    "ProtocolError",
    "Reason",
    "Rejoined",
    "RingChange",
    "RingId",
    "TotemdError",
    "TryAgain",
    "aio",
]
