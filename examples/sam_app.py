"""An application for sam-run: works for a while, then fails; sam-run starts the next instance.

sam-run --name worker -- python examples/sam_app.py --fail-after 3
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description="An application that fails.")
    parser.add_argument("--fail-after", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--good-instance", type=int, default=0, metavar="N", help="instance N works for ever")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    name = os.environ.get("TOTEMD_SAM_NAME", "nobody's")
    instance = int(os.environ.get("TOTEMD_SAM_INSTANCE", "0"))
    print(f"{name}: instance {instance} at work, process {os.getpid()}", flush=True)
    if instance == options.good_instance:
        signal.pause()
    time.sleep(options.fail_after)
    print(f"{name}: instance {instance} fails", flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
