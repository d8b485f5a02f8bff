"""`python -m totemd.services.cpg`: the cpg process; started by the executive."""

from __future__ import annotations

import sys

from ...executive.runtime.child import run_child
from .service import CpgProcess

if __name__ == "__main__":
    sys.exit(run_child("cpg", CpgProcess))
