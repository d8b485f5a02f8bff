"""The rows of everything but the ring and its nodes: logging, quorum, access, system, resources, leftovers."""

from __future__ import annotations

from .kinds import Choice, Decimal, FilePath, Flag, Integer, Kind, NiceValue, Switch, Text, TieBreaker
from .model import DEFAULT_STATE_DIR
from .options import Derived, Effect, Option, Relation

FACILITIES = (
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
"""Names of syslog facilities."""

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Names of syslog priorities, highest first."""

_PRIORITY = Choice(PRIORITIES, "unknown syslog priority specified")


def _logging_rows(section: str, *, subsystem: bool) -> tuple[Option, ...]:
    """What can be said for all log lines can be said for a subsystem; there the default is what holds for all."""

    def row(key: str, kind: Kind, default: str | bool, doc: str, *, spelling_of: str = "") -> Option:
        inherited = None if subsystem or spelling_of else default
        return Option(
            path=f"{section}.{key}",
            kind=kind,
            default=inherited,
            reload=True,
            doc=doc,
            spelling_of=spelling_of,
            effect=Effect.OBSOLETE if spelling_of else Effect.ACTIVE,
            field=None if spelling_of else "",
        )

    return (
        row("to_stderr", Switch(), True, "Log to the standard error output (while in the foreground)."),
        row("to_syslog", Switch(), True, "Log to syslog."),
        row("to_logfile", Switch(), False, "Log to `logfile`."),
        row("logfile", FilePath(), "", "The log file; needed for `to_logfile`."),
        row(
            "syslog_facility", Choice(FACILITIES, "unknown syslog facility specified"), "daemon", "Facility in syslog."
        ),
        row("syslog_priority", _PRIORITY, "info", "Lowest priority that goes to syslog."),
        row("logfile_priority", _PRIORITY, "info", "Lowest priority that goes to the log file and to stderr."),
        row("debug", Choice(("on", "off", "trace")), "off", "Log debug (or trace) lines too, whatever the priorities."),
        row("to_file", Switch(), False, "1.x spelling of `to_logfile`.", spelling_of="to_logfile"),
        row("syslog_level", _PRIORITY, "info", "1.x spelling of `syslog_priority`.", spelling_of="syslog_priority"),
    )


LOGGING_OPTIONS: tuple[Option, ...] = (
    *_logging_rows("logging", subsystem=False),
    Option(
        path="logging.timestamp",
        kind=Choice(("on", "off", "hires")),
        default="hires",
        reload=True,
        doc="Time at the start of lines in the log file and on stderr: to the second, none, or to the millisecond.",
        heritage="2.x: off",
    ),
    Option(
        path="logging.fileline", kind=Switch(), default=False, reload=True, doc="Source file and line in each line."
    ),
    Option(
        path="logging.function_name",
        kind=Switch(),
        default=False,
        reload=True,
        doc="Name of the function in each line.",
    ),
    Option(
        path="logging.blackbox",
        kind=Switch(),
        default=True,
        reload=True,
        doc="Keep what the ring was given lately, and what it made of it, in a flight recorder: `totemctl blackbox`. "
        "It is dumped when the totem process fails.",
    ),
    Option(
        path="logging.blackbox_size",
        kind=Integer(2048, 1024 * 1024, "KiB"),
        default=8192,
        reload=True,
        doc="Size of the recording, which lies in the run directory. An input takes some 50 bytes, so 8 MiB are hours "
        "of an idle ring and about a minute of a busy one. totemd only.",
    ),
    Option(
        path="logging.blackbox_dumps",
        kind=Integer(1, 1000),
        default=10,
        reload=True,
        doc="Dumps that are kept in `blackbox/` of the state directory; the oldest go. totemd only.",
    ),
    Option(
        path="logging.tags", kind=Text(), field=None, effect=Effect.OBSOLETE, doc="1.x: what to trace.", reload=True
    ),
)

SUBSYSTEM_OPTIONS: tuple[Option, ...] = (
    Option(
        path="logging.logger_subsys.subsys",
        kind=Text("the name of a subsystem", may_be_empty=False),
        reload=True,
        doc="Which subsystem the section is about: MAIN, TOTEM, CPG, SAM, QUORUM … Required.",
    ),
    *_logging_rows("logging.logger_subsys", subsystem=True),
)

LOGGING_RELATIONS = (
    Relation(
        "logging",
        ("to_logfile", "logfile"),
        lambda v: not v.flag("to_logfile") or v.flag("logfile"),
        lambda v: "to_logfile is on, but no log file is named; add `logfile: PATH`",
    ),
)


def _quorum(
    key: str,
    kind: Kind,
    default: int | str | bool | Derived,
    doc: str,
    *,
    reload: bool = False,
    effect: Effect = Effect.ACTIVE,
) -> Option:
    return Option(path=f"quorum.{key}", kind=kind, default=default, reload=reload, effect=effect, doc=doc)


def _device(key: str, kind: Kind, default: int | str | bool, doc: str) -> Option:
    return _quorum(f"device.{key}", kind, default, doc, reload=True, effect=Effect.LATER)


QUORUM_OPTIONS: tuple[Option, ...] = (
    _quorum(
        "provider",
        Choice(("corosync_votequorum",), "unknown quorum provider"),
        "",
        "Who counts votes. Without one there is no quorum: every partition goes on.",
    ),
    _quorum("votes", Integer(), 1, "Votes of a node that the node list says nothing about.", reload=True),
    _quorum(
        "expected_votes",
        Integer(),
        Derived("the sum of the votes of the node list", lambda v: v.number("listed_votes")),
        "Votes of the whole cluster; wins over the sum of the node list.",
        reload=True,
    ),
    _quorum(
        "two_node",
        Flag(),
        False,
        "Two nodes: one vote is enough; fencing decides who goes on. Sets wait_for_all.",
        reload=True,
    ),
    _quorum(
        "wait_for_all",
        Flag(),
        Derived("two_node", lambda v: v.flag("two_node")),
        "After the first start: no quorum until all expected votes were seen at once.",
    ),
    _quorum("last_man_standing", Flag(), False, "Expected votes follow the nodes that remain, one loss after another."),
    _quorum(
        "last_man_standing_window",
        Integer(unit="ms"),
        10_000,
        "Time without a change before the expected votes are counted anew.",
    ),
    _quorum(
        "auto_tie_breaker", Flag(), False, "Exactly half of the votes is enough for the half with the tie breaker."
    ),
    _quorum("auto_tie_breaker_node", TieBreaker(), "lowest", "Which node breaks a tie; of a list, the first present."),
    _quorum("allow_downscale", Flag(), False, "Nodes that leave cleanly lower the expected votes."),
    _quorum("expected_votes_tracking", Flag(), False, "Remember the highest expected votes on disk."),
    Option(
        path="quorum.leaving_timeout",
        kind=Integer(unit="ms"),
        field=None,
        effect=Effect.OBSOLETE,
        doc="Never had an effect.",
    ),
)

DEVICE_OPTIONS: tuple[Option, ...] = (
    _device("model", Choice(("net",), "unknown device model"), "", "Kind of the extra voter."),
    _device("votes", Integer(), 0, "Its votes; 0 = not given."),
    _device("timeout", Integer(unit="ms"), 10_000, "Silence after which it is gone."),
    _device("sync_timeout", Integer(unit="ms"), 30_000, "The same while nodes synchronise."),
    _device("master_wins", Flag(), False, "The half that has the device's vote goes on."),
)

SYSTEM_OPTIONS: tuple[Option, ...] = (
    Option(
        path="system.sched_rr",
        kind=Switch(),
        default=True,
        doc="Run the ring at real-time priority. Where the right to do so is missing, it says so once and goes on. "
        "On a machine with fewer than four processors it is done only if the file asks for it, since a busy ring "
        "would push aside the processes that feed it.",
    ),
    Option(
        path="system.priority",
        kind=NiceValue(),
        default="max",
        doc="Nice value when sched_rr is off or refused.",
    ),
    Option(
        path="system.move_to_root_cgroup",
        kind=Choice(("yes", "no", "auto")),
        default="auto",
        effect=Effect.LATER,
        doc="Leave the own control group, for a real-time budget under control groups of version 1.",
    ),
    Option(
        path="system.state_dir",
        kind=FilePath(),
        default=Derived(
            f"with --run-dir RUN_DIR/state, else STATE_DIRECTORY, else {DEFAULT_STATE_DIR} (not root: RUN_DIR/state)",
            lambda v: v.text("default_state_dir"),
        ),
        doc="Directory of the ring-sequence file, which must survive restarts.",
    ),
    Option(
        path="system.qb_ipc_type",
        kind=Choice(("native", "shm", "socket"), "Invalid system.qb_ipc_type"),
        field=None,
        effect=Effect.OBSOLETE,
        doc="Kind of connection between the daemon and its clients.",
    ),
    Option(
        path="system.allow_knet_handle_fallback",
        kind=Switch(),
        field=None,
        effect=Effect.OBSOLETE,
        doc="Go on without privileges in containers.",
    ),
)


def _resource(path: str, kind: Kind, doc: str, default: int | str | None = None) -> Option:
    return Option(path=f"resources.{path}", kind=kind, default=default, reload=True, doc=doc)


def _watched(name: str, maximum: Kind, doc: str) -> tuple[Option, ...]:
    return (
        _resource(f"system.{name}.max", maximum, doc),
        _resource(f"system.{name}.poll_period", Integer(500, 120_000, "ms"), "How often it is looked at.", 3000),
        _resource(f"system.{name}.recovery", Text(), "What is done above the limit besides a log line: watchdog (the "
                  "device is fed no more), reboot (the machine restarts), shutdown (this node leaves and ends)."),
    )  # fmt: skip


RESOURCE_OPTIONS: tuple[Option, ...] = (
    _resource(
        "watchdog_device",
        Text("off, or a path"),
        "The hardware watchdog, a device that resets the machine unless the sam process feeds it.",
        "off",
    ),
    _resource("watchdog_timeout", Integer(2, 120, "seconds"), "After which it resets the machine.", 6),
    *_watched(
        "memory_used",
        Integer(0, 100, "percent"),
        "Most memory in use. Without it the figure is only shown, as resources.system.memory_used.current.",
    ),
    *_watched("load_15min", Decimal(), "Highest load average; likewise."),
)

ACCESS_OPTIONS: tuple[Option, ...] = (
    Option(
        path="uidgid.uid",
        kind=Text("a user name or number", may_be_empty=False),
        field=None,
        reload=True,
        doc="A user who may use totemd besides root. May be repeated; also in files of `uidgid.d/` beside the "
        "configuration file.",
    ),
    Option(
        path="uidgid.gid",
        kind=Text("a group name or number", may_be_empty=False),
        field=None,
        reload=True,
        doc="A group whose members may use totemd. May be repeated.",
    ),
)


def _obsolete(path: str, kind: Kind, doc: str) -> Option:
    return Option(path=path, kind=kind, field=None, effect=Effect.OBSOLETE, doc=doc)


OTHER_OPTIONS: tuple[Option, ...] = (
    _obsolete("qb.ipc_type", Choice(("native", "shm", "socket")), "2.x: now system.qb_ipc_type."),
    _obsolete("pload.count", Integer(), "Messages of the load generator."),
    _obsolete("pload.size", Integer(), "Their size."),
    *(_obsolete(f"nozzle.{key}", Text(), "Virtual network interface over knet.")
      for key in ("name", "ipaddr", "ipprefix", "macaddr")),
)  # fmt: skip

QUORUM_RELATIONS = (
    Relation(
        "quorum",
        ("provider", "expected_votes"),
        lambda v: not v.flag("provider") or v.flag("voters_known"),
        lambda v: "nodelist or quorum.expected_votes must be configured!",
    ),
    *(
        Relation(
            "quorum",
            (key,),
            lambda v, key=key: not (v.flag(key) and v.flag("has_device")),  # type: ignore[misc]
            lambda v, key=key: f"{key}: 1 and a quorum device exclude each other",  # type: ignore[misc]
        )
        for key in ("two_node", "last_man_standing", "auto_tie_breaker", "allow_downscale")
    ),
    Relation(
        "quorum",
        ("auto_tie_breaker", "last_man_standing"),
        lambda v: (
            not (v.flag("auto_tie_breaker") and v.flag("last_man_standing") and v.number("expected_votes") % 2)
            or v.flag("wait_for_all")
        ),
        lambda v: (
            f"auto_tie_breaker and last_man_standing together need an even number of votes, or wait_for_all; there "
            f"are {v['expected_votes']}"
        ),
    ),
)
