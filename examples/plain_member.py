"""A member of a group with nothing but pyzmq and msgpack: says TEXT, prints what the group hears, ends at "bye".

plain_member.py RUN_DIR GROUP TEXT      docs/protocol.md explains each step"""

import sys
from struct import unpack_from

import msgpack
import zmq

run_dir, group, text = sys.argv[1:]
socket = zmq.Context().socket(zmq.DEALER)
socket.connect(f"ipc://{run_dir}/cpg.sock")


def send(kind, **fields):
    socket.send(msgpack.packb({"type": kind, **fields}))


send("hello", role="client", protocol=[1, 0])
send("join", group=group.encode())
me, heard = [], ""
while heard != "bye":
    control, *frames = socket.recv_multipart()
    match message := msgpack.unpackb(control):
        case {"type": "welcome", "node_id": node, "pid": pid}:
            me = [node, pid]
        case {"type": "changed", "joined": joined} if me in [each[:2] for each in joined]:
            send("say", group=group.encode(), message=text.encode())
        case {"type": "messages", "node": node, "count": count}:
            rest = frames[0]
            for _ in range(count):  # each has its length in front
                end = 4 + unpack_from("<I", rest)[0]
                heard, rest = rest[4:end].decode(), rest[end:]
                print(f"node {node}: {heard}", flush=True)
        case {"type": "expelled" | "away" | "failed" | "refused" | "unwelcome" | "goodbye"}:
            sys.exit(f"no member any more: {message}")  # or say hello, if that is gone, and join again
    if message["type"] not in ("welcome", "credit"):
        send("consumed", messages=1)
