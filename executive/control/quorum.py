"""`totemctl quorum`: the votes of the cluster, in the shape of corosync-quorumtool."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from ...ipc.blocking import BlockingConnection, Lost
from ...ipc.channel import Arrived, Opened
from ...ipc.errors import ConnectionLost, NotFound
from ...ipc.ids import NODE_ID_MAX
from ...ipc.messages.control import StatusReply, StatusRequest
from ...ipc.messages.quorum import TO_CLIENT, VOTES_MAX, Ask, CancelWait, Changed, Count, Expect, Grant, Seen, Track
from ...ipc.messages.quorum import Standing as StandingReply
from ...ipc.paths import QUORUM_SOCKET
from ..runtime.version import VERSION
from .asking import ANSWER_SECONDS, ROLE, Options, command, require_server
from .showing import print_json, ring_as_json

PROVIDER = "corosync_votequorum"
"""The only one there is."""

EXIT_NOT_QUORATE = 2
"""Of the status form, as corosync-quorumtool has it; 0 is quorate, 1 an error."""

COLUMN = 18
"""Width of the names in front of values."""

_VOTES = click.IntRange(0, VOTES_MAX)


class _Service:
    """A connection to the quorum process."""

    def __init__(self, options: Options) -> None:
        self._path = options.run_dir / QUORUM_SOCKET
        self.connection: BlockingConnection[Any] = BlockingConnection(
            self._path, ROLE, TO_CLIENT, service="totemd's quorum service", software=f"totemctl {VERSION}"
        )
        _require_provider(options)

    def __enter__(self) -> _Service:
        try:
            require_server(self._path)
            self.connection.open(ANSWER_SECONDS)
        except ConnectionLost:
            raise ConnectionLost("the quorum process is not running at the moment; see `totemctl status`") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, request: msgspec.Struct) -> Any:
        """The reply; raises ConnectionLost when there is none in time, and what the service refuses."""
        try:
            return self.connection.request(request, timeout=ANSWER_SECONDS)
        except TimeoutError as error:
            raise ConnectionLost(str(error)) from None

    def count(self) -> Count:
        """How it stands."""
        reply: StandingReply = self.ask(Ask())
        return reply.count

    def changes(self) -> Iterator[Count | None]:
        """How it stands, now and after every change, without end; None: the service went away."""
        self._tell(Track())
        while True:
            for happening in self.connection.pump(None):
                match happening:
                    case Arrived(StandingReply(count=count), _):
                        yield count
                    case Arrived(Changed(count=count), _):
                        self._tell(Seen(1))
                        yield count
                    case Opened():
                        self._tell(Track())
                    case Lost():
                        yield None

    def _tell(self, message: msgspec.Struct) -> None:
        if self.connection.is_open:  # else it is lost again, which is among the happenings still to come
            self.connection.send(message)


@click.group("quorum", invoke_without_command=True)
@click.option("--monitor", is_flag=True, help="Go on, and show every change (JSON: a line each); end with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def quorum(context: click.Context, monitor: bool, as_json: bool) -> None:
    """The votes of the cluster.  Without a command: exit code 0 quorate, 2 not quorate, 1 error.

    With --monitor: 0 once it is ended.
    """
    options: Options = context.obj
    options.as_json |= as_json
    if context.invoked_subcommand is not None:
        return
    with _Service(options) as service:
        if monitor:
            with contextlib.suppress(KeyboardInterrupt):
                for standing in service.changes():
                    _print(options, standing, one_line=True)
            return
        count = service.count()
    _print(options, count)
    context.exit(0 if count.quorate else EXIT_NOT_QUORATE)


@command("set-expected")
@click.argument("votes", type=_VOTES)
def set_expected(options: Options, votes: int) -> None:
    """The whole cluster has VOTES votes.  At least as many as are present, and not so many that quorum is lost."""
    with _Service(options) as service:
        service.ask(Expect(votes))
        if options.as_json:
            _print(options, service.count())


@command("set-votes")
@click.argument("votes", type=_VOTES)
@click.option("--node", "node_id", type=click.IntRange(1, NODE_ID_MAX), metavar="ID", help="Which; else this one.")
def set_votes(options: Options, votes: int, node_id: int | None) -> None:
    """A node has VOTES votes, until it is started again."""
    with _Service(options) as service:
        service.ask(Grant(service.count().node_id if node_id is None else node_id, votes))
        if options.as_json:
            _print(options, service.count())


@command("cancel-wait-for-all")
def cancel_wait_for_all(options: Options) -> None:
    """Wait for all nodes no more.  Those that are missing are known to be off."""
    with _Service(options) as service:
        service.ask(CancelWait())
        if options.as_json:
            _print(options, service.count())


for each in (set_expected, set_votes, cancel_wait_for_all):
    quorum.add_command(each)


def count_as_json(count: Count) -> dict[str, Any]:
    """Everything in it, with `provider`; `ring` is called `ring_id`."""
    plain: dict[str, Any] = msgspec.to_builtins(count)
    plain["ring_id"] = ring_as_json(count.ring)
    del plain["ring"]
    return {"provider": PROVIDER, **plain}


def text(count: Count, now: str) -> str:
    """The three parts of `corosync-quorumtool -s`."""
    blocked = "" if count.quorate else " Activity blocked"
    parts = (
        ("Quorum information", _rows(
            ("Date", now),
            ("Quorum provider", PROVIDER),
            ("Nodes", len(count.nodes)),
            ("Node ID", count.node_id),
            ("Ring ID", "-" if count.ring is None else count.ring),
            ("Quorate", "Yes" if count.quorate else "No"),
        )),
        ("Votequorum information", _rows(
            ("Expected votes", count.expected_votes),
            ("Highest expected", count.expected_votes),
            ("Total votes", count.total_votes),
            ("Quorum", f"{count.quorum}{blocked}"),
            ("Flags", " ".join(count.flags)),
            *((("Waiting", "for all nodes at once"),) if count.waiting_for_all else ()),
        )),
        ("Membership information", _membership(count)),
    )  # fmt: skip
    return "\n\n".join("\n".join((title, "-" * len(title), *lines)) for title, lines in parts)


def _rows(*rows: tuple[str, object]) -> list[str]:
    return [f"{name + ':':<{COLUMN}}{value}".rstrip() for name, value in rows]


def _membership(count: Count) -> list[str]:
    lines = [f"{'Nodeid':>10} {'Votes':>10} Name"]
    for node in count.nodes:
        local = " (local)" if node.node_id == count.node_id else ""
        lines.append(f"{node.node_id:>10} {node.votes:>10} {node.name}{local}".rstrip())
    return lines


def _print(options: Options, count: Count | None, *, one_line: bool = False) -> None:
    if options.as_json:
        plain = None if count is None else count_as_json(count)
        if one_line:
            click.echo(json.dumps(plain))
        else:
            print_json(plain)
    else:
        click.echo("The quorum service is away: not quorate" if count is None else text(count, time.ctime()))


def _require_provider(options: Options) -> None:
    with options.executive() as executive:
        status: StatusReply = executive.ask(StatusRequest())
    if status.quorate is None:
        raise NotFound("no quorum provider is configured: quorum.provider; without one every partition goes on")
