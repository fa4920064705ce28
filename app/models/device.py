"""One long-lived thread per device that runs all predictions, interactive and automatic.

There is one thread because cuDNN caches its autotuned convolutions per thread, and because two concurrent forward
passes are slower than two in sequence. Tasks are queued by priority; within a priority, the owners (sessions, users)
are served round-robin, so that one busy client can't starve the others. Long tasks call `yield_to_prompts()` between
their steps, which runs waiting clicks on the same thread.

Locks: `_lock` guards the queues and is never held while a task runs. A caller of `run` holds its session's lock while
it waits for the device; tasks on the device never take a session's lock.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from app.errors import Cancelled, ConfigurationError, ResourceExhausted
from app.models.precision import Precision, PrecisionChoice, choose

T = TypeVar("T")

LONGEST_PROMPT = 600.0
"""For so many seconds at most jobs wait for one prompt: should this process die meanwhile, they go on after that."""


class Priority(IntEnum):
    """Lower values run first."""

    PROMPT = 0
    AUTOMATIC = 1
    BACKGROUND = 2


@dataclass(frozen=True, eq=False)
class _Task:
    work: Callable[[], Any]
    future: Future[Any]
    priority: Priority
    owner: str


class Device:
    """A CPU or GPU and the thread that computes on it. Thread-safe.

    `name` is `auto` (the first CUDA GPU, else the CPU), `cpu`, `cuda` or `cuda:N`. `threads` is the number of CPU
    threads for torch (None: torch's default). `touched` is a file whose modification time tells training processes
    about prompts (`since_prompt`): it lies ahead while one runs.
    """

    def __init__(
        self,
        name: str = "auto",
        *,
        threads: int | None = None,
        touched: Path | None = None,
        precision: PrecisionChoice = "auto",
    ) -> None:
        if name not in {"auto", "cpu", "cuda"} and not (name.startswith("cuda:") and name[5:].isdigit()):
            raise ConfigurationError(f"a device is auto, cpu, cuda or cuda:N, not {name!r}")
        self._name = name
        self._threads = threads
        self._touched = touched
        self._precision_choice: PrecisionChoice = precision
        self._resolved: tuple[str, Precision] | None = None
        self._resolving = threading.Lock()
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._queues: dict[Priority, OrderedDict[str, deque[_Task]]] = {p: OrderedDict() for p in Priority}
        self._thread: threading.Thread | None = None
        self._running: list[Priority] = []  # priorities of the running tasks, outermost first; device thread only
        self._stopping = False
        if touched is not None and touched.exists():
            os.utime(touched)  # a server that was killed during a prompt has left it ahead

    def run(self, work: Callable[[], T], priority: Priority = Priority.PROMPT, owner: str = "") -> T:
        """Run `work` on the device thread and wait for its result; its exceptions are raised here.

        Raises:
            Cancelled: the work was still queued when `cancel(owner)` or `shutdown()` was called.
            ResourceExhausted: the device ran out of memory, also at the retry.
        """
        if threading.current_thread() is self._thread:
            return work()
        future: Future[T] = Future()
        with self._lock:
            if self._stopping:
                raise Cancelled("the server is stopping")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=f"device-{self._name}", daemon=True)
                self._thread.start()
            self._queues[priority].setdefault(owner, deque()).append(_Task(work, future, priority, owner))
            self._arrived.notify()
        return future.result()

    def yield_to_prompts(self) -> None:
        """Run waiting tasks of a higher priority than the calling one. Does nothing on any other thread, so that the
        same model code can run in a job's process. Raises `Cancelled` if the server is stopping."""
        if threading.current_thread() is not self._thread or not self._running:
            return
        if self._stopping:
            raise Cancelled("the server is stopping")
        current = self._running[-1]
        while current > Priority.PROMPT:
            with self._lock:
                task = self._next(below=current)
            if task is None:
                return
            self._perform(task)

    def cancel(self, owner: str) -> int:
        """Cancel the queued tasks of `owner`, not a running one; returns their number."""
        with self._lock:
            dropped = [task for queue in self._queues.values() for task in queue.pop(owner, ())]
        for task in dropped:
            task.future.set_exception(Cancelled("the request was taken back before its turn came"))
        return len(dropped)

    @property
    def waiting(self) -> int:
        """The number of queued tasks."""
        with self._lock:
            return sum(len(tasks) for queue in self._queues.values() for tasks in queue.values())

    def shutdown(self) -> None:
        """Finish the running task, up to its next `yield_to_prompts`, cancel the queued ones (callers get `Cancelled`),
        and stop the thread."""
        with self._lock:
            self._stopping = True
            dropped = [task for queue in self._queues.values() for tasks in queue.values() for task in tasks]
            for queue in self._queues.values():
                queue.clear()
            self._arrived.notify()
        for task in dropped:
            task.future.set_exception(Cancelled("the server is stopping"))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def torch_name(self) -> str:
        """The device's name in torch, `cpu` or `cuda:N`. Imports torch. Raises `ConfigurationError` if there is no
        such GPU."""
        return self._resolve()[0]

    @property
    def precision(self) -> Precision:
        """The precision in which networks compute on this device."""
        return self._resolve()[1]

    def _resolve(self) -> tuple[str, Precision]:
        with self._resolving:
            if self._resolved is None:
                import torch

                name = self._name
                if name == "auto":
                    name = "cuda:0" if torch.cuda.is_available() else "cpu"
                elif name.startswith("cuda"):
                    name = name if ":" in name else "cuda:0"
                    if int(name[5:]) >= torch.cuda.device_count():
                        raise ConfigurationError(f"there is no {name} here; set the device to cpu or auto")
                self._set_threads()
                if name == "cpu":
                    _keep_freed_memory()
                self._resolved = name, choose(self._precision_choice, name)
            return self._resolved

    def _set_threads(self) -> None:
        """OpenMP has this number per thread, so it is set on the device thread as well as where models load."""
        torch = sys.modules.get("torch")
        if torch is not None and self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _serve(self) -> None:
        while True:
            with self._lock:
                task = self._next()
                while task is None:
                    if self._stopping:
                        return
                    self._arrived.wait()
                    task = self._next()
            self._perform(task)

    def _next(self, below: Priority | None = None) -> _Task | None:
        """Dequeue the next task (of a higher priority than `below`). Call with the lock held."""
        for priority, owners in self._queues.items():
            if below is not None and priority >= below:
                return None
            if owners:
                owner, tasks = owners.popitem(last=False)
                task = tasks.popleft()
                if tasks:
                    owners[owner] = tasks  # to the end: round-robin over the owners
                return task
        return None

    def _perform(self, task: _Task) -> None:
        self._set_threads()
        if task.priority is Priority.PROMPT:
            self._touch(time.time() + LONGEST_PROMPT)
        self._running.append(task.priority)
        failed: BaseException | None = None
        result = None
        try:
            result = self._with_one_retry(task.work)
        except BaseException as error:
            failed = error
        self._running.pop()
        # Before the caller is told: what it looks at then says that its prompt is over.
        if task.priority is Priority.PROMPT:
            self._touch(time.time())
        if failed is not None:
            task.future.set_exception(failed)
        else:
            task.future.set_result(result)

    def _with_one_retry(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Exception as error:
            if not _out_of_memory(error):
                raise
        # Outside the except block: the traceback would keep the failed attempt's tensors in memory.
        _empty_cache()
        try:
            return work()
        except Exception as error:
            if not _out_of_memory(error):
                raise
        _empty_cache()
        raise ResourceExhausted(
            "the device ran out of memory; close a session or wait for other work to end", retry_after=10.0
        )

    def _touch(self, when: float) -> None:
        if self._touched is not None:
            with suppress(OSError):  # on a full disk jobs notice nothing, and prompts go on
                self._touched.parent.mkdir(parents=True, exist_ok=True)
                self._touched.touch()
                os.utime(self._touched, (when, when))


def since_prompt(touched: Path) -> float | None:
    """Seconds since the last prompt ended, infinity if there was none, None while one runs. `touched` is the file that
    `Device` updates; if it is further ahead than a prompt can be, the clock was set back, and it says nothing."""
    try:
        ago = time.time() - touched.stat().st_mtime
    except FileNotFoundError:
        return math.inf
    if ago >= 0:
        return ago
    return None if ago > -LONGEST_PROMPT - 1 else math.inf


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MAPPED_FROM = 64 * 2**20
_TRIMMED_FROM = 256 * 2**20


def _keep_freed_memory() -> None:
    """Let glibc reuse the memory of a network's tensors from one layer to the next. As it comes, it maps everything
    from 32 MiB at most anew and gives it back when freed, and a forward pass on a processor spends a fifth of its time
    on page faults. The process keeps up to 256 MiB more. Other C libraries have no such call."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
        mallopt(_M_TRIM_THRESHOLD, _TRIMMED_FROM)


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # Torch reports exhausted main memory as a plain RuntimeError with this text.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _empty_cache() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
