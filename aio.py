"""totemd for asyncio: `Client` and `Group` as in `totemd`, with `async with`, `await` and `async for`.

```
async with totemd.aio.Client() as client, client.join("chat") as group:
    await group.mcast(b"hello")
    async for event in group:
        ...
```
Events and errors are those of `totemd`.
"""

from .services.cpg.aio import Client
from .services.cpg.aio_group import Group

__all__ = ["Client", "Group"]
