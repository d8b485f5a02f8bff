"""Which totemd this is."""

from __future__ import annotations

VERSION = "0.1.0"
"""As in pyproject.toml; a test compares them.  Asking the installed metadata would cost each process 20 ms at start."""
