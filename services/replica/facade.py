"""The asyncio half of `totemd.replica`, as `totemd.replica.aio`."""

from .aio import Replica
from .aio_blocks import ReplicatedDict
from .aio_lines import Leader, Lock

__all__ = ["Leader", "Lock", "Replica", "ReplicatedDict"]
