"""Telling whether a process still lives, even one that an earlier server started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_SAME_START = 2.0  # seconds; the time of boot that the kernel tells moves a little with the clock


def started(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None if there is none or if it is only waiting to be
    reaped."""
    import psutil

    try:
        process = psutil.Process(pid)
        over = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if over else float(process.create_time())
    except psutil.NoSuchProcess:
        return None


def alive(pid: int, since: float) -> bool:
    """Is the process that started at `since` still there, and not a later one with the same number?"""
    now = started(pid)
    return now is not None and abs(now - since) < _SAME_START


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group that `pid` leads; nothing happens if it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
