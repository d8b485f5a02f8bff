"""As `kept FILE beat N`, in Python and by the client library: what hangs is a busy loop."""

import os
import sys
import time


def say(word: str) -> None:
    """A line of its own, as kept.c has it."""
    line = f"{word} {os.getpid()} {time.monotonic_ns()}\n"
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, line.encode())
    os.close(file)


say("start")

from totemd import sam  # noqa: E402  (its own start is not what is measured)

with sam.Application() as app:
    for _ in range(int(sys.argv[3])):
        app.health_check()
        time.sleep(0.1)
    app.health_check()
    say("hang")
    while True:
        pass
