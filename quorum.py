"""Quorum: whether this node's side of the cluster has enough votes to go on.

```
with totemd.quorum.Client() as client:
    client.wait_until_quorate()
    for status in client:                # every change
        print(status.quorate, status.members, status.expected_votes)
```
`totemd.quorum.aio` has the same for asyncio.  While the service cannot be reached nothing is quorate.  How votes are
counted, and the protocol for other languages, is in docs/quorum.md.
"""

from .ipc.messages.quorum import Count as Status
from .ipc.messages.quorum import NodeVotes
from .services.quorum import facade as aio
from .services.quorum.client import Client

__all__ = ["Client", "NodeVotes", "Status", "aio"]
