"""A counter that runs on one node at a time, and goes on counting where it was; start it on every node:

    sam-run --singleton counter -- python examples/singleton.py

Kill its node, its sam-run, or cut its network: another node goes on, with a higher fencing token.
"""

from __future__ import annotations

import sys
import time

from totemd import sam


def main() -> None:
    """Count, and leave the count to whoever runs next."""
    if not sam.is_supervised():
        sys.exit("Start it under sam-run: sam-run --singleton counter -- python examples/singleton.py")
    with sam.supervised(interval=5.0) as app:
        count = int(app.restore() or 0)
        print(f"term {sam.fence()}: goes on from {count}", flush=True)
        while True:
            count += 1
            app.store(b"%d" % count)
            print(f"term {sam.fence()}: {count}", flush=True)
            time.sleep(1.0)


if __name__ == "__main__":
    main()
