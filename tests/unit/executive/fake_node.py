"""`totemd` with fake children: the whole command line, but three copies of `fake_child.py` as its processes.

`FAKE_TREE` in the environment holds JSON that changes their specs: `{"spec": {"stop_seconds": 1}, "restarts": 2}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from unittest.mock import patch

from totemd.executive import __main__ as command
from totemd.executive.supervisor.specs import ChildSpec, RestartIntensity, Tree

FAKE_CHILD = Path(__file__).with_name("fake_child.py")


def fake_tree(changes: str) -> Tree:
    told = json.loads(changes or "{}")
    specs = tuple(
        ChildSpec(name, (str(FAKE_CHILD), name), gets_key=name == "totem", **told.get("spec", {}))
        for name in ("totem", "cpg", "sam")
    )
    return Tree(specs, RestartIntensity(restarts=told.get("restarts", 5)))


if __name__ == "__main__":
    with patch.object(command, "NODE", fake_tree(os.environ.pop("FAKE_TREE", ""))):
        sys.exit(command.main())
