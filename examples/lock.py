"""Does something that only one process of the cluster may do at a time.

    python examples/lock.py [--nodes N]          (COROSYNC_RUN_DIR chooses the node)

Waits for the lock, holds it until the end of input, gives it to the next.  With `--nodes 3` the lock needs two of three
nodes (all three the first time: before that, a state on the third could be overlooked), so that a split cluster never
has two holders that both may write: the fence is what the protected thing checks.
`leader.py` shows the same in asyncio.
"""

from __future__ import annotations

import argparse
import select
import sys

import totemd
from totemd import replica


def main() -> None:
    parser = argparse.ArgumentParser(description="A lock for the cluster.")
    parser.add_argument("--nodes", type=int, default=0, help="how many nodes there are; 0: do without a majority")
    nodes = parser.parse_args().nodes
    policy = replica.Majority(nodes) if nodes else replica.Available()
    print("joining" + f"; the first time until it is started on all {nodes} nodes" * bool(nodes), flush=True)
    with totemd.Client() as client, replica.Lock(client, "example-lock", policy) as lock:
        print("waiting", flush=True)
        with lock.held() as fence:
            print("have it, fence", fence, flush=True)
            while lock.is_held:
                # It looks at the group too, at least once a second: others may wait for an answer.
                readable, _, _ = select.select([sys.stdin, lock], [], [], 1.0)
                if sys.stdin in readable and not sys.stdin.readline():
                    break


if __name__ == "__main__":
    main()
