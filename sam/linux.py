"""What the Linux kernel offers and the standard library does not: subreapers and signals as readable data."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PR_SET_CHILD_SUBREAPER = 36
_RB_AUTOBOOT = 0x01234567
_TFD_NONBLOCK, _TFD_CLOEXEC, _TFD_TIMER_ABSTIME = os.O_NONBLOCK, os.O_CLOEXEC, 1
_SFD_NONBLOCK, _SFD_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_SIGINFO = struct.Struct("=IiiI")
"""The beginning of struct signalfd_siginfo: number, errno, code, sender's pid; see signalfd(2)."""
_SIGINFO_BYTES = 128
_SIGINFOS_AT_ONCE = 32
_SIGSET_BYTES = 128
"""sizeof(sigset_t) of glibc and musl."""

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> bool:
    """Let this process inherit the orphans among its descendants, instead of init; see prctl(2).

    Returns whether the kernel does it.
    """
    return int(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


def child_pids() -> list[int]:
    """The children of this process, zombies too; all of them, as long as its first thread alone forks and reaps."""
    with open(f"/proc/self/task/{os.getpid()}/children", "rb", buffering=0) as file:
        return [int(word) for word in file.read().split()]


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """One signal that this process got."""

    number: int
    from_kernel: bool
    """Sent by the kernel itself: a key on the terminal, a terminal that is gone or has another size."""
    sender: int


class SignalReader:
    """Signals of this process as data on a descriptor, with the sender that handlers in Python never learn of.

    The signals are blocked from now on, in threads that are started later too.
    """

    def __init__(self, signals: Iterable[int]) -> None:
        taken = frozenset(signals)
        self.mask_before = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, taken))
        """The signal mask to give back to programs that are started."""
        bits = 0
        for number in taken:
            bits |= 1 << (number - 1)
        mask = ctypes.create_string_buffer(bits.to_bytes(_SIGSET_BYTES, "little"), _SIGSET_BYTES)
        self._fd = int(_libc.signalfd(-1, mask, _SFD_NONBLOCK | _SFD_CLOEXEC))
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"signalfd: {os.strerror(number)}")

    def fileno(self) -> int:
        """Readable while signals wait."""
        return self._fd

    def read(self) -> Iterator[SignalInfo]:
        """Take signals that have come, lower numbers first; each is there at most once, as the kernel keeps them.

        One look only: an application that ends as soon as it is started must not hold the loop for ever.
        """
        try:
            data = os.read(self._fd, _SIGINFO_BYTES * _SIGINFOS_AT_ONCE)
        except BlockingIOError:
            return
        for offset in range(0, len(data), _SIGINFO_BYTES):
            number, _, code, sender = _SIGINFO.unpack_from(data, offset)
            yield SignalInfo(number, code > 0, sender)

    def close(self) -> None:
        """Stop reading; the signals stay blocked."""
        os.close(self._fd)


def reboot_machine() -> None:
    """Restart the machine at once, as `reboot -f` does; see reboot(2)."""
    os.sync()
    _libc.reboot(_RB_AUTOBOOT)


class BootTimer:
    """A timer on a descriptor, by the clock that goes on while the machine is suspended; see timerfd_create(2)."""

    def __init__(self) -> None:
        self._fd = int(_libc.timerfd_create(time.CLOCK_BOOTTIME, _TFD_NONBLOCK | _TFD_CLOEXEC))
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_create: {os.strerror(number)}")

    def fileno(self) -> int:
        """Readable from the time that was set."""
        return self._fd

    def set(self, when: float) -> None:
        """Be readable at this time of CLOCK_BOOTTIME, at once if it has passed; 0: never."""
        seconds = int(when)
        nanoseconds = int((when - seconds) * 1_000_000_000)
        value = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)  # struct itimerspec: interval, value
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, value, None) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_settime: {os.strerror(number)}")

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def suspend_by(number: int) -> None:
    """Do to this process what a blocked signal does by default; return once it goes on.

    For a job control signal in an orphaned process group that is nothing, as for every other program.
    """
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
