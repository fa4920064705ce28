"""What people do: look at a case, prompt, submit, ask for the next one, train, roll back.

Every dialect calls these and nothing below them. `Services` bundles the desks over one set of rooms.
"""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.archives.outbox import Postman
from app.core.archive import Archive
from app.learning import plugins
from app.learning.clock import Clock, Recurring
from app.learning.rooms import Rooms
from app.learning.runner import JobRunner
from app.learning.served import open_models
from app.models.device import Device
from app.services.automatic import AutomaticDesk
from app.services.cases import CaseDesk
from app.services.jobs import JobDesk
from app.services.labels import LabelDesk
from app.services.loaded import LoadedModels
from app.services.logs import LogDesk
from app.services.matching import Matcher
from app.services.models import ModelDesk
from app.services.next_case import NextCaseDesk
from app.services.prompting import PromptDesk
from app.services.resuming import WaysBack
from app.services.schedule import JobsThatAreDue
from app.services.sent_images import SentImages
from app.services.session_log import SessionLog
from app.services.sessions import SessionDesk
from app.services.snapshots import Snapshots
from app.services.sync import SyncDesk
from app.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """Everything a dialect may ask for."""

    settings: Settings
    rooms: Rooms
    device: Device
    cases: CaseDesk
    prompting: PromptDesk
    sessions: SessionDesk
    sent: SentImages
    snapshots: Snapshots
    automatic: AutomaticDesk
    labels: LabelDesk
    next_case: NextCaseDesk
    models: ModelDesk
    loaded: LoadedModels
    jobs: JobDesk
    logs: LogDesk
    sync: SyncDesk
    clock: Clock

    @classmethod
    def open(cls, settings: Settings, archive: Archive | None = None) -> Services:
        """Build everything; nothing runs in the background before `start`."""
        rooms = Rooms.open(settings, archive)
        device = Device(settings.device, threads=settings.threads or None, touched=rooms.paths.interaction)
        models = ModelDesk(rooms, open_models(rooms, device), device)
        cases = CaseDesk(rooms)
        runner = JobRunner(rooms.catalog.jobs, rooms.paths.jobs, _job_command(rooms))
        jobs = JobDesk(rooms, models, runner, lambda: plugins.trainers().found)
        sync = SyncDesk(rooms)
        sent = SentImages(rooms, cases)
        log = SessionLog(rooms.paths.sessions)
        snapshots = Snapshots(log)
        ways = WaysBack(log, snapshots, models)
        prompting = PromptDesk(cases, models, device, sent, log, snapshots, ways, settings.sessions)
        labels = LabelDesk(rooms, cases, models)
        postman = Postman(rooms.catalog, rooms.labels, rooms.archive_of)
        due = JobsThatAreDue(rooms, jobs, models)
        clock = Clock(
            [
                Recurring("sync", settings.archive.sync_seconds, sync.run),
                Recurring("outbox", 2.0, postman.deliver_due),
                Recurring("models", 2.0, models.refresh),
                Recurring("due", 10.0, due.queue),
                Recurring("snapshots", 5.0, prompting.keep_resting),
                Recurring("sweep", 60.0, lambda: _sweep(prompting, cases)),
            ]
        )
        return cls(
            settings=settings,
            rooms=rooms,
            device=device,
            cases=cases,
            prompting=prompting,
            automatic=AutomaticDesk(cases, models, device),
            labels=labels,
            sessions=SessionDesk(log, prompting, labels, Matcher(rooms, cases), sent),
            sent=sent,
            snapshots=snapshots,
            next_case=NextCaseDesk(rooms, cases, plugins.strategies().found, models.probabilistic()),
            models=models,
            loaded=LoadedModels(settings, models, device, rooms.paths),
            jobs=jobs,
            logs=LogDesk(rooms.paths.log),
            sync=sync,
            clock=clock,
        )

    def start(self) -> None:
        """Read the archive once and start the background work."""
        # Uploads that a kill cut off; nobody was told that they arrived.
        shutil.rmtree(self.rooms.paths.incoming)
        self.rooms.paths.incoming.mkdir()
        self.jobs.runner.start()
        # In a thread: an archive that is slow or away must not keep the server from answering.
        threading.Thread(target=self.sync.run, name="first-sync", daemon=True).start()
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        threading.Thread(target=self.loaded.load_directory, name="load-models", daemon=True).start()
        self.clock.start()

    def _warm_up(self) -> None:
        """Import what is slow to import, and spare the garbage collector from looking at all that again: it would
        stop every request for as long as it does."""
        self.jobs.trainers()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    def stop(self) -> None:
        """End the background work. Jobs are queued again and go on at the next start."""
        self.clock.shutdown()
        self.sync.close()
        self.jobs.runner.shutdown()
        self.prompting.close_all()
        self.snapshots.settle()
        self.sent.settle()
        self.loaded.close()
        self.device.shutdown()
        self.rooms.close()


def _job_command(rooms: Rooms) -> Callable[[str], Sequence[str]]:
    file = rooms.paths.jobs / "settings.json"
    rooms.settings.save_private(file)

    def command(job_id: str) -> Sequence[str]:
        return [sys.executable, "-m", "app.cli", "job", job_id, "--settings", str(file)]

    return command


def _sweep(prompting: PromptDesk, cases: CaseDesk) -> None:
    prompting.sweep()
    cases.sweep()
