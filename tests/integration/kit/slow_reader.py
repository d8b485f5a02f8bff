"""A member that reads more slowly than others send.

    python slow_reader.py RUN_DIR GROUP BYTES_PER_SECOND

It says `joined`, reads at that pace until the next line, then all the rest as quickly as it can, up to the message
`FIN`; then it says how many messages it has read, or how it ended.
"""

from __future__ import annotations

import select
import sys
import time

import totemd

FIN = b"FIN"


def main() -> None:
    run_dir, name, pace = sys.argv[1], sys.argv[2], float(sys.argv[3])
    with totemd.Client(run_dir) as client, client.join(name) as group:
        print("joined", flush=True)
        began, read, messages, hurry = time.monotonic(), 0, 0, False
        try:
            while True:
                event = group.receive()
                if not isinstance(event, totemd.Message):
                    continue
                if event.payload == FIN:
                    break
                messages += 1
                read += len(event.payload)
                ahead = began + read / pace - time.monotonic()
                if ahead > 0 and not hurry:
                    hurry = bool(select.select([sys.stdin], [], [], ahead)[0])
        except totemd.TotemdError as error:
            print(f"{type(error).__name__} after {messages}: {error}", flush=True)
        else:
            print(messages, flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
