"""Replicated state: a class with `apply`, `snapshot` and `restore` becomes one that all members of a group share.

```
class Counter:
    def __init__(self): self.total = 0
    def apply(self, command): self.total += int(command); return self.total
    def snapshot(self): return str(self.total).encode()
    def restore(self, snapshot): self.total = int(snapshot)

with totemd.Client() as client, totemd.replica.Replica(client, "counter", Counter()) as replica:
    print(replica.submit(b"1"))
```
On it stand `ReplicatedDict`, `Lock` and `Leader`; `totemd.replica.aio` has the same for asyncio.  What is promised, and
what happens when a group is split, is in docs/replica.md.
"""

from .services.replica import facade as aio
from .services.replica.blocks import ReplicatedDict
from .services.replica.client import Replica
from .services.replica.effects import Status
from .services.replica.errors import IncompatibleState, OutcomeUnknown, Rejected, TransferFailed
from .services.replica.lines import Leader, Lock
from .services.replica.machine import StateMachine
from .services.replica.mapping import MISSING
from .services.replica.messages import COMMAND_BYTES_MAX
from .services.replica.policy import Available, Candidate, Majority, Policy, largest, most_advanced

__all__ = [
    "COMMAND_BYTES_MAX",
    "MISSING",
    "Available",
    "Candidate",
    "IncompatibleState",
    "Leader",
    "Lock",
    "Majority",
    "OutcomeUnknown",
    "Policy",
    "Rejected",
    "Replica",
    "ReplicatedDict",
    "StateMachine",
    "Status",
    "TransferFailed",
    "aio",
    "largest",
    "most_advanced",
]
