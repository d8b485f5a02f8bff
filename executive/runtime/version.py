"""Which totemd this is."""

from __future__ import annotations

from importlib import metadata

try:
    VERSION = metadata.version("totemd")
except metadata.PackageNotFoundError:  # run from a checkout that was not installed
    VERSION = "0.1.0"
