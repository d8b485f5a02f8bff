"""The availability manager's public face: `from totemd import sam`.

An application that `sam-run` keeps asks here who it is; anybody asks which applications a node has.
"""

from __future__ import annotations

from ..ipc.messages.control import AppInfo
from .client import apps, instance, is_supervised, name

__all__ = ["AppInfo", "apps", "instance", "is_supervised", "name"]
