"""Chat without a server: every line is seen by everybody, in the same order.  Ctrl-D ends it.

python examples/chat.py [ROOM]        on several nodes, or several times on one (COROSYNC_RUN_DIR chooses the node)
"""

import select
import sys

import totemd


def show(event: totemd.Event) -> None:
    match event:
        case totemd.Message(sender, payload):
            print(f"{sender.node_id}/{sender.pid}: {payload.decode(errors='replace')}")
        case totemd.ConfigChange(members, joined, left):
            print(f"-- {len(members)} here; {len(joined)} came, {len(left)} went")
        case totemd.Rejoined():
            print("-- this node was away; lines may be missing")


def events_of(group: totemd.Group) -> None:
    try:
        while True:
            show(group.receive(timeout=0))
    except TimeoutError:
        sys.stdout.flush()


with totemd.Client() as client, client.join(sys.argv[1] if len(sys.argv) > 1 else "chat") as group:
    while True:
        events_of(group)
        readable, _, _ = select.select([sys.stdin, group], [], [])
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                break
            group.mcast(line.rstrip("\n").encode())
