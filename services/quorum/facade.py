"""The asyncio half of `totemd.quorum`, as `totemd.quorum.aio`."""

from .aio import Client

__all__ = ["Client"]
