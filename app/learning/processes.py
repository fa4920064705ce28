"""Whether a process is still running, even one that an earlier server started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_SAME_START = 2.0  # seconds; the kernel's boot time shifts slightly when the clock is adjusted


def started(pid: int) -> float | None:
    """The start time of a process in seconds since the epoch; None if there is none, or only a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        over = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if over else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def alive(pid: int, since: float) -> bool:
    """Whether the process that started at `since` is running, as opposed to a later one with the same PID."""
    now = started(pid)
    return now is not None and abs(now - since) < _SAME_START


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group of `pid`; a no-op if it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
