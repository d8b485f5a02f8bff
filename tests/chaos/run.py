#!/usr/bin/env python3
"""Chaos on real nodes, by hand: `python tests/chaos/run.py --minutes 20 --nodes 5 --seed 1`.

What happens is printed as it happens, the figures at the end.  Exit code 0: no violation; 1: something is not as
promised, and the histories and logs are kept; 2: this machine cannot do it, and says why.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sim"))

from chaoskit.faults import SECONDS_MIN, schedule
from chaoskit.session import Options, Session
from simcluster.arguments import number, whole
from totemd.testing.namespaces import NODES_MAX, obstacle

NODES_MIN = 2
"""With fewer there is nobody to be cut off from."""

LOSS_PERCENT_MAX = 90.0
"""With more no ring forms, so that nothing is seen of one."""

RATE_MIN, RATE_MAX = 0.1, 100_000.0
TOKEN_MS_MIN, TOKEN_MS_MAX = 100, 600_000


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Faults on real nodes in network namespaces; needs root.")
    parser.add_argument(
        "--minutes", type=number(SECONDS_MIN / 60), default=5.0, help="of faults (default: %(default)s)"
    )
    parser.add_argument("--nodes", type=whole(NODES_MIN, NODES_MAX), default=5)
    parser.add_argument("--seed", type=whole(0), default=1, help="the same seed gives the same schedule of faults")
    parser.add_argument(
        "--loss", type=number(0, LOSS_PERCENT_MAX), default=5.0, help="percent of datagrams lost all the time"
    )
    parser.add_argument(
        "--rate", type=number(RATE_MIN, RATE_MAX), default=25.0, help="messages per second of each member"
    )
    parser.add_argument("--token", type=whole(TOKEN_MS_MIN, TOKEN_MS_MAX), default=1000, help="token timeout in ms")
    parser.add_argument("--keep", action="store_true", help="keep the histories and logs of a good run too")
    parser.add_argument("--schedule", action="store_true", help="print the first round's faults, and do nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    options = Options(
        nodes=given.nodes,
        seconds=60 * given.minutes,
        seed=given.seed,
        loss=given.loss / 100,
        rate=given.rate,
        token_ms=given.token,
        keep=given.keep,
    )
    if given.schedule:
        for fault in schedule(
            f"{options.seed}/0", min(options.seconds, options.round_seconds), range(1, options.nodes + 1)
        ):
            print(f"{fault.at:8.2f}  {fault}")
        return 0
    if why := obstacle():
        print(why, file=sys.stderr)
        return 2
    # So that everything is put away as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session = Session(options, lambda line: print(line, flush=True))
    try:
        report = session.run()
    except AssertionError as error:
        print(f"{error}\n{kept(session)}")
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; {kept(session)}")
        return 1
    print(report.text())
    if session.directory.exists():
        print(kept(session))
    return 1 if report.complaints else 0


def kept(session: Session) -> str:
    """Where the histories and logs are."""
    return f"kept: {session.directory}" if session.directory.exists() else "there was nothing to keep"


if __name__ == "__main__":
    sys.exit(main())
