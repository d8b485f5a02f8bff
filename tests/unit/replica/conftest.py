"""Makes the helpers beside this file, and the model of rings of the cpg tests, importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

for folder in (HERE, HERE.parent / "cpg"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
