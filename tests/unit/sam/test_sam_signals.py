"""What each signal means, depending on who sent it; and signals as data."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from totemd.sam.events import Event, Parting, Passing, Resumed, StopAsked, SuspendAsked
from totemd.sam.linux import SignalInfo, SignalReader
from totemd.sam.signals import MEANINGFUL, meaning

INT, TERM, QUIT, HUP, TSTP = signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP


@pytest.mark.parametrize(
    ("number", "by_terminal", "by_process"),
    [
        (TERM, StopAsked(TERM), StopAsked(TERM)),
        (INT, Parting(INT, pass_on=False, only_if_killed=False), StopAsked(INT)),
        (
            QUIT,
            Parting(QUIT, pass_on=False, only_if_killed=False),
            Parting(QUIT, pass_on=True, only_if_killed=False),
        ),
        (HUP, StopAsked(HUP), Parting(HUP, pass_on=True, only_if_killed=True)),
        (TSTP, SuspendAsked(TSTP, pass_on=False), SuspendAsked(TSTP, pass_on=True)),
        (signal.SIGTTIN, SuspendAsked(signal.SIGTTIN, False), SuspendAsked(signal.SIGTTIN, True)),
        (signal.SIGCONT, Resumed(), Resumed()),
        (signal.SIGWINCH, None, Passing(signal.SIGWINCH)),
        (signal.SIGUSR1, None, Passing(signal.SIGUSR1)),
        (signal.SIGRTMIN + 3, None, Passing(signal.SIGRTMIN + 3)),
    ],
)
def test_meanings(number: int, by_terminal: Event | None, by_process: Event) -> None:
    assert meaning(SignalInfo(number, from_kernel=True, sender=0)) == by_terminal
    assert meaning(SignalInfo(number, from_kernel=False, sender=42)) == by_process


def test_every_meaningful_signal_that_a_process_sends_means_something() -> None:
    assert all(meaning(SignalInfo(number, from_kernel=False, sender=42)) for number in MEANINGFUL)


@pytest.fixture
def reader() -> SignalReader:
    return SignalReader({signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN})


def test_signals_are_read_in_order_with_their_senders(reader: SignalReader) -> None:
    try:
        assert list(reader.read()) == []
        for number in (signal.SIGRTMIN, signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR1, signal.SIGRTMIN):
            signal.pthread_kill(threading.get_ident(), number)  # other threads of the test's process do not block it
        me = os.getpid()
        expected = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN, signal.SIGRTMIN]
        assert list(reader.read()) == [SignalInfo(number, from_kernel=False, sender=me) for number in expected]
        assert signal.SIGUSR1 not in reader.mask_before
    finally:
        reader.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, reader.mask_before)
