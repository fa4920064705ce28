"""Telling whether a process still lives, even one that an earlier server started."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_SAME_START = 2.0  # seconds; the time of boot that the kernel tells moves a little with the clock


def started(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None if there is none or if it is only waiting to be reaped.

    Read from /proc (proc(5)); where there is no /proc, 0 for every living process.
    """
    if not Path("/proc/stat").exists():
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return 0.0
    try:
        # The command's name, in parentheses, may hold anything; the fields after it are plain.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    return _boot_time() + int(fields[19]) / _TICKS_PER_SECOND


def alive(pid: int, since: float) -> bool:
    """Is the process that started at `since` still there, and not a later one with the same number?"""
    now = started(pid)
    return now is not None and abs(now - since) < _SAME_START


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group that `pid` leads; nothing happens if it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
