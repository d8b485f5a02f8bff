"""The asyncio half of `totemd.replica`, as `totemd.replica.aio`."""

from .aio import Replica
from .aio_blocks import Leader, Lock, ReplicatedDict

__all__ = ["Leader", "Lock", "Replica", "ReplicatedDict"]
