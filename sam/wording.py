"""What sam-run says on standard error about its application's life.  Pure."""

from __future__ import annotations

import signal

from ..ipc.messages.sam import AppState
from .events import Ending, Report, Why


def signal_name(number: int) -> str:
    """`SIGTERM` and the like; `signal 63` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ending_text(ending: Ending | None) -> str:
    """How an instance ended."""
    if ending is None:
        return "ended"
    if not ending.is_known:
        return "ended, nobody knows how"
    return f"was killed by {signal_name(ending.signal)}" if ending.signal else f"exited with code {ending.code}"


def report_text(report: Report) -> str:
    """A line about a turn of the life; empty for one that needs no words."""
    instance, who = report.instance, f"instance {report.instance}"
    match report.why, report.state:
        case Why.RESTART, _:
            return f"instance {instance - 1} {ending_text(report.ending)}; {who} starts"
        case Why.ENDED, AppState.BACKOFF:
            return f"{who} {ending_text(report.ending)}; instance {instance + 1} starts in {report.delay:.3g} s"
        case Why.AT_WILL, _:
            return f"{who} {ending_text(report.ending)} while it was not watched; it is not restarted"
        case Why.NOT_QUORATE, AppState.WAITING:
            return f"instance {instance + 1} waits for quorum{': ' * bool(report.text)}{report.text}"
        case Why.NOT_QUORATE, _:
            return f"{who} waits for quorum"
        case Why.SILENT | Why.QUORUM_LOST | Why.MARKED_FAILED, _:
            return f"{who} (pid {report.pid}) {report.why.value}"
        case Why.DONE, _:
            return f"{who} {ending_text(report.ending)}: it is done"
        case Why.PARTED, _:
            return f"{who} {ending_text(report.ending)} on request; it is not restarted"
        case Why.TOO_OFTEN, _:
            return f"{who} {ending_text(report.ending)}; failed too often: given up"
        case Why.CANNOT_START, _:
            return report.text
        case Why.LEFT_BEHIND, AppState.CLEARING:
            return f"{who} left processes behind; they are killed (a program that puts itself in the background?)"
        case Why.LEFT_BEHIND, _:
            return f"{who} left processes behind; they are ended"
        case Why.FROZEN_TOO_LONG | Why.OVERDUE | Why.UNKILLABLE, _:
            return f"{who} (pid {report.pid}) {report.why.value}" if report.pid else f"{who}: {report.why.value}"
        case Why.FAILED, _:
            return f"{who} (pid {report.pid}) failed: {report.text}"
    return ""
