"""What people and programs do here: open a case, prompt, submit, ask for the next case, train, roll back.

Dialects and the web call these services and nothing below them. `Services` bundles them over one project.
"""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app import plugins
from app.archives.outbox import OutboxWorker
from app.core.archive import Archive, Interruptible
from app.learning.clock import Clock, Recurring
from app.learning.runner import JobRunner
from app.models.device import Device
from app.project.open_models import open_models
from app.project.project import Project
from app.services.accounts import AccountService
from app.services.automatic import AutomaticService
from app.services.cases import CaseService
from app.services.deliveries import DeliveryService
from app.services.dicomweb import dicomweb_of
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.proxy import DicomwebProxy
from app.services.export_service import ExportService
from app.services.external_models import ExternalModels
from app.services.jobs import JobService
from app.services.labels import LabelService
from app.services.models import ModelService
from app.services.next_case import NextCaseService
from app.services.prompting.drafts import DraftService
from app.services.prompting.matching import Matcher
from app.services.prompting.service import PromptService
from app.services.prompting.starting import StartService
from app.services.prompting.submission import SessionService
from app.services.quarantine import QuarantineService
from app.services.schedule import DueJobs
from app.services.server import LogService, server_secret
from app.services.sync import SyncService
from app.settings import Settings
from app.workspace import Workspace

logger = logging.getLogger(__name__)

LEFT_SECONDS = 3600.0
"""The age of an unfinished file whose writer is gone."""


@dataclass(frozen=True)
class Services:
    """Everything a dialect may ask for."""

    settings: Settings
    project: Project
    device: Device
    cases: CaseService
    prompting: PromptService
    sessions: SessionService
    starts: StartService
    drafts: DraftService
    automatic: AutomaticService
    labels: LabelService
    deliveries: DeliveryService
    quarantine: QuarantineService
    exports: ExportService
    accounts: AccountService
    outbox_worker: OutboxWorker
    next_case: NextCaseService
    models: ModelService
    external: ExternalModels
    jobs: JobService
    logs: LogService
    sync: SyncService
    clock: Clock
    warm: threading.Event = field(default_factory=threading.Event)
    """Set once what clicks need is loaded."""

    @classmethod
    def open(cls, settings: Settings, archive: Archive | None = None) -> Services:
        """Build all services; background work begins with `start`. Raises `ConfigurationError`."""
        project = Project.open(settings, archive)
        project.catalog.database.check()
        device = Device(settings.device, threads=settings.threads or None, touched=project.paths.interaction)
        sync = SyncService(project)
        models = ModelService(project, open_models(project, device), device)
        cases = CaseService(project)
        runner = JobRunner(project.catalog.jobs, project.paths.jobs, _job_command(project))
        jobs = JobService(project, models, runner, lambda: plugins.trainers().found)
        prompting = PromptService(project, cases, models, device)
        labels = LabelService(project, cases, models)
        automatic = AutomaticService(cases, models, device)
        outbox_worker = OutboxWorker(project.catalog, project.labels, project.archive_of)
        next_case = NextCaseService(
            project, cases, plugins.strategies().found, models.probabilistic(), listing=sync.wait_for_first
        )
        due = DueJobs(project, jobs, models, next_case)
        clock = Clock(
            [
                Recurring("sync", settings.archive.sync_seconds, sync.run),
                Recurring("outbox", 2.0, outbox_worker.start_due),
                Recurring("models", 2.0, models.refresh),
                Recurring("due", 10.0, due.queue),
                Recurring("snapshots", 5.0, prompting.snapshot_idle),
                Recurring("sweep", 60.0, lambda: _sweep(prompting, cases)),
                Recurring("leftovers", 3600.0, lambda: _sweep_leftovers(project.paths)),
            ]
        )
        return cls(
            settings=settings,
            project=project,
            device=device,
            cases=cases,
            prompting=prompting,
            automatic=automatic,
            labels=labels,
            sessions=SessionService(prompting, labels, Matcher(project, cases)),
            starts=StartService(automatic, labels),
            drafts=DraftService(prompting, settings.sessions.keep_seconds),
            deliveries=DeliveryService(project),
            quarantine=QuarantineService(project, sync),
            exports=ExportService(project),
            accounts=AccountService(project.catalog, project.paths),
            outbox_worker=outbox_worker,
            next_case=next_case,
            models=models,
            external=ExternalModels(settings, models, device, project.paths),
            jobs=jobs,
            logs=LogService(project.paths.log),
            sync=sync,
            clock=clock,
        )

    @property
    def incoming(self) -> Path:
        """The folder for uploads in progress; it is emptied at start."""
        return self.project.paths.incoming

    def write_problem(self) -> str:
        """Why labels can't be stored now, as far as the workspace goes; "" if they can."""
        try:
            with tempfile.TemporaryFile(dir=self.project.paths.labels) as file:
                file.write(b"probe")
        except OSError as error:
            return f"the workspace can't be written to: {error.strerror}"
        problem = self.project.catalog.database.problem()
        return f"the catalog can't be written to: {problem}" if problem else ""

    def secret(self) -> bytes:
        """The key this server signs with."""
        return server_secret(self.project.paths)

    def dicomweb(self) -> FolderDicomweb | DicomwebProxy | None:
        """The DICOMweb service for viewers; None for an archive in memory."""
        return dicomweb_of(self.project.archive, self.project.volumes("archive").volume)

    def start(self) -> None:
        """Sync with the archive once and start the background work."""
        # Incomplete uploads of a killed process; none of them was acknowledged.
        shutil.rmtree(self.project.paths.incoming)
        self.project.paths.incoming.mkdir()
        _sweep_leftovers(self.project.paths)
        self.jobs.runner.start()
        self.sync.start()
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        threading.Thread(target=self.external.load_directory, name="load-models", daemon=True).start()
        self.clock.start()

    def _warm_up(self) -> None:
        """Import slow modules in advance, load what clicks need, and freeze these objects: a garbage collection that
        scans them would pause every request."""
        try:
            self.jobs.trainers()
            self.models.warm_up()
        finally:
            self.warm.set()
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    def stop(self) -> None:
        """Stop the background work. Running jobs are queued again and continue at the next start."""
        # Work that waits for the archive would be waited for below.
        if isinstance(self.project.archive, Interruptible):
            self.project.archive.hang_up()
        self.exports.close()
        self.outbox_worker.close()
        self.clock.shutdown()
        self.sync.close()
        self.jobs.runner.shutdown()
        self.prompting.shutdown()
        self.external.close()
        self.device.shutdown()
        self.project.close()


def _job_command(project: Project) -> Callable[[str], Sequence[str]]:
    file = project.paths.jobs / "settings.json"
    project.settings.save_private(file)

    def command(job_id: str) -> Sequence[str]:
        return [sys.executable, "-m", "app.cli", "job", job_id, "--settings", str(file)]

    return command


def _sweep_leftovers(paths: Workspace) -> None:
    """Remove what writers that were killed left behind (`app.durable`), once no writer can be at it any more."""
    for folder in (paths.labels, paths.models, paths.sessions):
        for left in folder.rglob(".writing-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                    left.unlink()


def _sweep(prompting: PromptService, cases: CaseService) -> None:
    prompting.sweep()
    cases.sweep()
