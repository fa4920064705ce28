from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.errors import BadPrompt, Cancelled, ConfigurationError, ResourceExhausted
from app.models.device import LONGEST_PROMPT, Device, Priority, since_prompt

PATIENCE = 60.0


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device("cpu")
    yield made
    made.shutdown()


class Line:
    """Keeps a device busy, queues work behind that, and notes the order in which it ran."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.order: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self._go = threading.Event()
        self._threads: list[threading.Thread] = []
        started = threading.Event()

        def hold() -> None:
            started.set()
            assert self._go.wait(PATIENCE)

        self._start("hold", lambda: device.run(hold))
        assert started.wait(PATIENCE)

    def queue(self, name: str, priority: Priority = Priority.PROMPT, owner: str = "") -> None:
        before = self.device.waiting
        self._start(name, lambda: self.device.run(lambda: self.order.append(name), priority, owner))
        wait_until(lambda: self.device.waiting == before + 1)

    def release(self) -> None:
        self._go.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _start(self, name: str, call: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                call()
            except BaseException as error:
                self.errors[name] = error

        thread = threading.Thread(target=guarded)
        thread.start()
        self._threads.append(thread)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_run_returns_the_result_and_always_uses_one_thread(device: Device) -> None:
    idents = {device.run(threading.get_ident) for _ in range(5)}

    assert len(idents) == 1
    assert idents != {threading.get_ident()}


def test_run_raises_the_works_exception_and_goes_on(device: Device) -> None:
    def fail() -> None:
        raise BadPrompt("no")

    with pytest.raises(BadPrompt, match="no"):
        device.run(fail)
    assert device.run(lambda: 3) == 3


def test_run_inside_work_runs_at_once(device: Device) -> None:
    assert device.run(lambda: device.run(lambda: 7)) == 7


def test_prompts_go_before_automatic_work_and_that_before_the_rest(device: Device) -> None:
    line = Line(device)
    line.queue("background", Priority.BACKGROUND)
    line.queue("automatic", Priority.AUTOMATIC)
    line.queue("prompt", Priority.PROMPT)
    line.release()

    assert line.order == ["prompt", "automatic", "background"]


def test_owners_take_turns(device: Device) -> None:
    line = Line(device)
    for name in ("a1", "a2", "a3"):
        line.queue(name, owner="a")
    line.queue("b1", owner="b")
    line.queue("c1", owner="c")
    line.queue("b2", owner="b")
    line.release()

    assert line.order == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_cancel_drops_what_waits_of_one_owner(device: Device) -> None:
    line = Line(device)
    line.queue("a", owner="a")
    line.queue("a automatic", Priority.AUTOMATIC, owner="a")
    line.queue("b", owner="b")

    assert device.cancel("a") == 2
    assert device.cancel("a") == 0
    line.release()

    assert line.order == ["b"]
    assert {name: type(error) for name, error in line.errors.items()} == {"a": Cancelled, "a automatic": Cancelled}


def test_breathe_lets_a_click_in_between_but_nothing_of_the_same_priority(device: Device) -> None:
    order: list[str] = []
    inside, clicked = threading.Event(), threading.Event()

    def inference() -> None:
        order.append("first half")
        inside.set()
        assert clicked.wait(PATIENCE)
        device.yield_to_prompts()
        order.append("second half")

    threads = [threading.Thread(target=lambda: device.run(inference, Priority.AUTOMATIC, "a"))]
    threads[0].start()
    assert inside.wait(PATIENCE)
    other = threading.Thread(target=lambda: device.run(lambda: order.append("other"), Priority.AUTOMATIC, "b"))
    click = threading.Thread(target=lambda: device.run(lambda: order.append("click"), Priority.PROMPT, "c"))
    other.start()
    click.start()
    wait_until(lambda: device.waiting == 2)
    clicked.set()
    for thread in (*threads, other, click):
        thread.join(PATIENCE)

    assert order == ["first half", "click", "second half", "other"]


def test_breathe_does_nothing_on_other_threads(device: Device) -> None:
    device.yield_to_prompts()


def test_work_that_fails_for_memory_is_tried_once_more(device: Device) -> None:
    attempts: list[int] = []

    def once() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise MemoryError
        return "done"

    assert device.run(once) == "done"


def test_work_that_fails_for_memory_twice_is_no_room(device: Device) -> None:
    import torch

    attempts: list[int] = []

    def never() -> None:
        attempts.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ResourceExhausted):
        device.run(never)
    assert len(attempts) == 2


def test_other_runtime_errors_are_not_tried_again(device: Device) -> None:
    attempts: list[int] = []

    def broken() -> None:
        attempts.append(1)
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        device.run(broken)
    assert len(attempts) == 1


def test_shutdown_drops_what_waits_and_refuses_more() -> None:
    device = Device("cpu")
    line = Line(device)
    line.queue("late")
    stopper = threading.Thread(target=device.shutdown)
    stopper.start()
    wait_until(lambda: "late" in line.errors)
    line.release()
    stopper.join(PATIENCE)

    assert isinstance(line.errors["late"], Cancelled)
    with pytest.raises(Cancelled):
        device.run(lambda: 1)


def test_a_long_task_ends_at_its_next_step_when_the_server_stops() -> None:
    device = Device("cpu")
    begun, stopping = threading.Event(), threading.Event()
    steps: list[int] = []

    def long() -> None:
        while True:
            steps.append(1)
            begun.set()
            stopping.wait(PATIENCE)
            device.yield_to_prompts()

    errors: list[BaseException] = []

    def call() -> None:
        try:
            device.run(long, Priority.AUTOMATIC)
        except Cancelled as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert begun.wait(PATIENCE)
    stopper = threading.Thread(target=device.shutdown)
    stopper.start()
    while not device._stopping:
        threading.Event().wait(0.001)
    stopping.set()
    stopper.join(PATIENCE)
    caller.join(PATIENCE)
    assert not stopper.is_alive()
    assert (len(steps), len(errors)) == (1, 1)


def test_the_file_says_whether_a_prompt_runs_and_when_the_last_one_ended(tmp_path: Path) -> None:
    touched = tmp_path / "state" / "interaction"
    device = Device("cpu", touched=touched)
    assert since_prompt(touched) == math.inf

    device.run(lambda: None, Priority.AUTOMATIC)
    assert since_prompt(touched) == math.inf

    assert device.run(lambda: since_prompt(touched), Priority.PROMPT) is None
    ended = since_prompt(touched)
    assert ended is not None
    assert 0 <= ended < 60

    os.utime(touched, (time.time() - 500, time.time() - 500))
    assert since_prompt(touched) == pytest.approx(500, abs=60)
    device.shutdown()


def test_a_long_prompt_runs_until_it_ends_and_not_for_longer_than_any_may(tmp_path: Path) -> None:
    touched = tmp_path / "interaction"
    device = Device("cpu", touched=touched)

    def fails() -> None:
        raise ValueError("a prompt that fails")

    with pytest.raises(ValueError, match="fails"):
        device.run(fails, Priority.PROMPT)
    assert since_prompt(touched) is not None, "also one that failed has ended"
    device.shutdown()

    ahead = time.time() + LONGEST_PROMPT - 100
    os.utime(touched, (ahead, ahead))
    assert since_prompt(touched) is None
    os.utime(touched, (ahead + 500, ahead + 500))
    assert since_prompt(touched) == math.inf, "the clock was set back"


def test_a_prompt_in_which_the_server_died_does_not_run_any_more(tmp_path: Path) -> None:
    touched = tmp_path / "interaction"
    touched.touch()
    os.utime(touched, (time.time() + 300, time.time() + 300))
    assert since_prompt(touched) is None
    Device("cpu", touched=touched)
    assert since_prompt(touched) is not None


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "mps"])
def test_unknown_device_names_are_configuration_errors(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Device(name)


def test_a_card_that_is_not_there_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="cuda:99"):
        _ = Device("cuda:99").torch_name


def test_threads_are_set_on_the_device_thread() -> None:
    import torch

    device = Device("cpu", threads=1, precision="fp32")
    before = torch.get_num_threads()
    try:
        assert device.torch_name == "cpu"
        assert device.run(torch.get_num_threads) == 1
    finally:
        torch.set_num_threads(before)
        device.shutdown()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="page faults are counted on Linux only")
def test_the_memory_of_one_forward_pass_is_used_for_the_next() -> None:
    """In a process of its own, because it is set for the whole process."""
    code = """
import resource, sys, torch
from app.models.device import Device
if sys.argv[1] == "device":
    Device("cpu").torch_name
network = torch.nn.Sequential(*[torch.nn.Conv3d(8, 8, 3, padding=1) for _ in range(4)])
given = torch.zeros(1, 8, 96, 96, 96)
with torch.inference_mode():
    network(given)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(given)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    plain, kept = (
        int(subprocess.run([sys.executable, "-c", code, who], capture_output=True, text=True, check=True).stdout)
        for who in ("plain", "device")
    )
    assert kept < plain / 10
