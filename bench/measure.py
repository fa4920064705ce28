"""Timing things fairly on a machine that is never quite still, and the memory they take."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of the same thing done several times, in the order in which they were taken."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def high(self) -> float:
        return max(self.seconds)

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent))


@dataclass(frozen=True)
class Contender:
    """Something to time. `prepare` runs before each time, unmeasured."""

    work: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def interleave(contenders: Mapping[str, Contender], repeats: int, *, warm_up: bool = True) -> dict[str, Timing]:
    """Time the contenders in turns, so that what disturbs the machine disturbs all of them alike.

    Each round starts with another one. A first round that isn't counted loads libraries and fills the page cache.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(-1 if warm_up else 0, repeats):
        for name in rotated(list(contenders), max(number, 0)):
            contender = contenders[name]
            contender.prepare()
            gc.collect()
            start = perf_counter()
            result = contender.work()
            elapsed = perf_counter() - start
            del result
            if number >= 0:
                seconds[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def rotated(names: list[str], by: int) -> list[str]:
    """The names in the same order, starting further on."""
    at = by % len(names)
    return names[at:] + names[:at]


def in_child(module: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a module of ours in a process of its own; what it prints on its last line, a JSON object."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peak_memory() -> int:
    """The most memory this process has had resident, in bytes. Unlike `ru_maxrss`, forgets what its parent had."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
