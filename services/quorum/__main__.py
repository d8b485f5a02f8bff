"""`python -m totemd.services.quorum`: the quorum process; started by the executive."""

from __future__ import annotations

import sys

from ...executive.runtime.child import run_child
from .service import QuorumProcess

if __name__ == "__main__":
    sys.exit(run_child("quorum", QuorumProcess))
