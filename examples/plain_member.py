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
send("say", group=group.encode(), message=text.encode())  # waits there until we are a member
heard = []
while "bye" not in heard:
    control, *frames = socket.recv_multipart()
    match message := msgpack.unpackb(control):
        case {"type": "messages", "node": node, "count": count}:
            heard, at, batch = [], 0, frames[0]
            while at + 4 <= len(batch):  # each has its length in front
                start, at = at + 4, at + 4 + unpack_from("<I", batch, at)[0]
                heard.append(batch[start:at].decode(errors="replace"))
            if (len(heard), at) != (count, len(batch)):
                heard = []  # it does not add up, so no member takes any of it
            for each in heard:
                print(f"node {node}: {each}", flush=True)
        case {"type": "expelled" | "away" | "failed" | "refused" | "unwelcome" | "goodbye"}:
            sys.exit(f"no member any more: {message}")  # or say hello, if that is gone, and join again
    if message["type"] not in ("welcome", "credit"):
        send("consumed", messages=1)
