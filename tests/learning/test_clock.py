from __future__ import annotations

import threading
import time

from app.learning.clock import Clock, Recurring


def test_a_tick_that_raises_comes_again_and_never_overlaps_itself() -> None:
    twice, running, overlapped, count = threading.Event(), threading.Lock(), [], [0]

    def run() -> None:
        if not running.acquire(blocking=False):
            overlapped.append(True)
            return
        time.sleep(0.12)
        running.release()
        count[0] += 1
        if count[0] == 2:
            twice.set()
        raise RuntimeError("this tick went wrong")

    clock = Clock([Recurring("sync", 0.05, run)])
    clock.start()
    assert twice.wait(10)
    clock.shutdown()
    assert not overlapped
    after = count[0]
    time.sleep(0.2)
    assert count[0] == after
