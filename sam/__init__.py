"""The availability manager's public face: `from totemd import sam`.

```
with sam.supervised(interval=2.0) as app:      # under sam-run: no sign of life for 2 s, and it is started again
    count = int(app.restore() or 0)            # what an earlier instance has left
    while work():
        app.health_check()
        app.store(b"%d" % count)
```
The same as functions, as corosync's users know them: `register`, `start`, `health_check`, `store`, `restore`, `stop`,
`finalize`, …; for asyncio: `sam.aio`.  An application also asks here who it is, and anybody which applications a node
has.  docs/sam.md has the whole story, and the protocol for other languages.
"""

from __future__ import annotations

from ..ipc.messages.control import AppInfo
from ..ipc.messages.sam_app import STORED_BYTES_MAX
from . import aio as aio
from .application import Application
from .calling import (
    dispatch,
    fileno,
    finalize,
    health_check,
    mark_failed,
    on_health_check,
    register,
    restore,
    start,
    stop,
    store,
    supervise,
    supervised,
    warn_signal,
)
from .client import apps, fence, instance, is_supervised, name

__all__ = [
    "STORED_BYTES_MAX",
    "AppInfo",
    "Application",
    "aio",
    "apps",
    "dispatch",
    "fence",
    "fileno",
    "finalize",
    "health_check",
    "instance",
    "is_supervised",
    "mark_failed",
    "name",
    "on_health_check",
    "register",
    "restore",
    "start",
    "stop",
    "store",
    "supervise",
    "supervised",
    "warn_signal",
]
