"""`python -m totemd.executive.totem`: the Totem process; started by the executive."""

import sys

from ..runtime.child import run_child
from .process import TotemProcess

if __name__ == "__main__":
    sys.exit(run_child("totem", TotemProcess))
