"""From the services to the views: each function reads what one panel shows. They block: call them on a thread."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from app.core.label import FINAL, Waiting
from app.services import Services
from app.web.dashboard import delivery, jobs, prompt_sessions, queue, recent_labels
from app.web.dashboard.attention import Notice, attention
from app.web.dashboard.case_name import names_of
from app.web.dashboard.learning_curve import LearningCurves, learning_curves
from app.web.dashboard.model_versions import ModelVersions, model_versions
from app.web.dashboard.progress import Progress, progress, zone_named


def read_progress(services: Services, zone: str) -> Progress:
    total, completed = services.cases.counts()
    submissions = services.project.catalog.labels.submissions(FINAL)
    return progress(submissions, total, completed, zone_named(zone), datetime.now(UTC))


def read_learning(services: Services) -> LearningCurves:
    return learning_curves(services.models.versions(), _served(services))


def read_queue(services: Services, strategy: str, page: int) -> queue.Queue:
    """`strategy` is "" for the default. Raises `UnknownStrategy`."""
    strategies = services.next_case.strategies()
    strategy = strategy or next(iter(strategies), "")
    picks = services.next_case.preview(strategy, {}) if strategy else ()
    held = services.next_case.held()
    page, pages, shown = queue.page_of(picks, page)
    names = names_of(services.cases, [*(pick.case_id for pick in shown), *(lease.case_id for lease in held)])
    first = (page - 1) * queue.PAGE + 1
    places = tuple(
        queue.place(number, pick, names[pick.case_id], services.project.catalog.scores.detail(pick.case_id))
        for number, pick in enumerate(shown, start=first)
    )
    return queue.Queue(
        strategy=strategy,
        strategies=strategies,
        places=places,
        held=tuple(queue.held(lease, names[lease.case_id]) for lease in held),
        page=page,
        pages=pages,
        ranked=len(picks),
        waiting=len(services.project.catalog.cases.candidates()),
    )


def read_jobs(services: Services) -> jobs.Jobs:
    table = services.project.catalog.jobs
    rows = table.listed(limit=jobs.SHOWN)
    settings = services.settings
    return jobs.Jobs(
        # Only a job that runs is described by its last epoch.
        rows=tuple(
            jobs.job_row(
                job, [data for _, _, data in table.events(job.id, kind="epoch")] if job.state == "running" else ()
            )
            for job in rows
        ),
        trainable=_trained(services),
        scorable=tuple(services.models.probabilistic()),
        epochs=settings.learning.epochs,
        train_after=settings.learning.train_after,
    )


def read_models(services: Services) -> tuple[ModelVersions, ...]:
    return model_versions(services.models.cards(), _trained(services), services.models.versions(), _served(services))


def read_labels(services: Services) -> tuple[recent_labels.RecentLabel, ...]:
    catalog = services.project.catalog
    labels = catalog.labels.newest_first(limit=recent_labels.SHOWN)
    names = names_of(services.cases, [label.case_id for label in labels])
    states = catalog.outbox.states([label.id for label in labels])
    return tuple(recent_labels.recent_label(label, names[label.case_id], states.get(label.id)) for label in labels)


def read_delivery(services: Services) -> delivery.Delivery:
    catalog = services.project.catalog
    state = catalog.outbox.state()
    waiting, refused = catalog.outbox.waiting(delivery.SHOWN), catalog.outbox.refusals(delivery.SHOWN)
    labels = {one.label_id: catalog.labels.by_id(one.label_id) for one in [*waiting, *refused]}
    names = names_of(services.cases, [label.case_id for label in labels.values()])

    def shown(one: Waiting) -> delivery.Stuck:
        label = labels[one.label_id]
        return delivery.stuck(one, label, names[label.case_id])

    unusable = delivery.unusable(catalog.cases.unusable())
    read = services.sync.read
    return delivery.Delivery(
        address=delivery.shown_address(services.settings.studies),
        kind=services.project.archive.name,
        problem=services.sync.problem,
        read=datetime.fromtimestamp(read, UTC) if read else None,
        waiting=state.waiting,
        delivered=state.delivered,
        oldest=labels[waiting[0].label_id].created if waiting else None,
        stuck=tuple(map(shown, waiting)),
        refused=state.refused,
        turned_down=tuple(map(shown, refused)),
        unusable_cases=len(unusable),
        unusable=unusable[: delivery.SHOWN],
    )


def read_sessions(services: Services) -> prompt_sessions.Sessions:
    listed = services.sessions.listed(prompt_sessions.SHOWN)
    cases = {info.record.id: services.sessions.matched(info) or info.record.case_id for info in listed}
    names = names_of(services.cases, cases.values())
    count, size = services.prompting.memory
    # Asking the device for its name brings in torch, which takes seconds; the first page after a start needn't wait.
    known = "torch" in sys.modules
    return prompt_sessions.Sessions(
        rows=tuple(prompt_sessions.session_row(info, names[cases[info.record.id]]) for info in listed),
        in_memory=count,
        bytes=size,
        max_bytes=services.settings.sessions.max_bytes,
        device=services.device.torch_name if known else services.settings.device,
        precision=services.device.precision if known else "",
        waiting=services.device.waiting,
        structures=tuple(services.settings.labels.structures),
    )


def read_attention(services: Services) -> tuple[Notice, ...]:
    return attention(read_delivery(services), read_jobs(services), read_sessions(services))


def _served(services: Services) -> dict[str, str]:
    return {name: services.models.version_served(name) for name in services.settings.models}


def _trained(services: Services) -> tuple[str, ...]:
    """By the settings: looking at the trainers themselves would import torch."""
    return tuple(name for name, model in services.settings.models.items() if model.trainer)
