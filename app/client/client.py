"""The client of `/api/v1` (docs/api.md)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from app.client.connection import Connection, segment
from app.client.session import PromptSession
from app.client.shapes import (
    Case,
    Event,
    Export,
    Grid,
    Job,
    LabelVersion,
    LabelVoxels,
    Offer,
    OpenedSession,
    PackedVoxels,
    Page,
    ServerInfo,
    Session,
    SubmittedLabel,
    Version,
)
from app.client.voxels import compressed, label_voxels
from app.core.volume import Geometry

PAGE = 500
POLL_SECONDS = 1.0
EXPORT_POLL_SECONDS = 0.3


class Client:
    """One program's connection to a server; a context manager that closes it. Thread-safe.

    Every method raises `Refused` for the server's own errors, and `Unavailable` if nothing like segloop answers.
    """

    def __init__(
        self, address: str, token: str = "", user: str = "", program: str = "python", ca_file: Path | None = None
    ) -> None:
        """`user` is kept with labels as their author, `program` with sessions. `ca_file` has the certificates to trust
        instead of the usual ones. Raises `BadInput` for what is no address, or no such file."""
        headers = {"X-Segloop-Client": program}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if user:
            headers["X-Segloop-User"] = quote(user)
        self._connection = Connection(address, headers, ca_file)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def server(self) -> ServerInfo:
        """What the server offers: models, strategies, structures, progress."""
        return self._connection.get(ServerInfo, "/server")

    def cases(self, search: str = "", completed: bool | None = None) -> Iterator[Case]:
        """All cases in the archive's order; `search` looks in ids, patients, descriptions, modalities and dates."""
        offset = 0
        while True:
            query = {"limit": PAGE, "offset": offset, "completed": completed, "q": search or None}
            page = self._connection.get(Page, "/cases", **query)
            yield from page.cases
            offset += len(page.cases)
            if not page.cases or offset >= page.total:
                return

    def case(self, case_id: str) -> Case:
        return self._connection.get(Case, f"/cases/{segment(case_id)}")

    def geometry(self, case_id: str) -> Geometry:
        """Where a case's voxels lie: shape `(k, j, i)`, affine from `(i, j, k, 1)` to millimetres, LPS."""
        grid = self._connection.get(Grid, f"/cases/{segment(case_id)}/geometry")
        return Geometry(grid.shape, np.array(grid.affine, float))

    def next_case(self, strategy: str = "") -> Offer | None:
        """Claim the next case to label; None if none is left."""
        answer = self._connection.send("POST", "/next", json={"strategy": strategy})
        return self._connection.parsed_or_none(Offer, answer)

    def release(self, case_id: str) -> None:
        """Give a claimed case back without a label."""
        self._connection.send("POST", f"/cases/{segment(case_id)}/release")

    def segment(self, case_id: str, model: str) -> LabelVoxels:
        """What an automatic model segments; it isn't stored."""
        path = f"/cases/{segment(case_id)}/segment"
        return label_voxels(self._connection.post(PackedVoxels, path, {"model": model}))

    def open_session(self, case_id: str, model: str = "") -> PromptSession:
        """Prompts on a case, by the server's first interactive model if none is named."""
        body = {"case_id": case_id, "model": model}
        return PromptSession(self._connection, self._connection.post(OpenedSession, "/sessions", body))

    def sessions(self, limit: int = 1000) -> list[Session]:
        """The newest sessions of every viewer, last opened first."""
        return self._connection.get(list[Session], "/sessions", limit=limit)

    def session(self, name: str) -> Session:
        return self._connection.get(Session, f"/sessions/{segment(name)}")

    def submit_session(self, name: str, structure: str = "", comment: str = "") -> SubmittedLabel:
        """Keep what was segmented in a session of any viewer as the next final label of its image."""
        path = f"/sessions/{segment(name)}/label"
        return self._connection.post(SubmittedLabel, path, {"structure": structure, "comment": comment})

    def labels(self, case_id: str = "", author: str = "", limit: int | None = None) -> list[LabelVersion]:
        """Of one case, every version, oldest first; of all cases, newest first, a thousand if no `limit` is given."""
        if case_id:
            return self._connection.get(list[LabelVersion], f"/cases/{segment(case_id)}/labels")
        return self._connection.get(list[LabelVersion], "/labels", who=author or None, limit=limit)

    def label_file(self, label_id: int) -> bytes:
        """A DICOM SEG for a series, a compressed NIfTI file for a volume file."""
        return self._connection.send("GET", f"/labels/{label_id}/file").content

    def label_voxels(self, label_id: int) -> LabelVoxels:
        return label_voxels(self._connection.get(PackedVoxels, f"/labels/{label_id}/voxels"))

    def submit_label(
        self,
        case_id: str,
        labelmap: NDArray[np.uint8],
        structures: Sequence[str],
        absent: Sequence[str] | None = None,
        comment: str = "",
    ) -> LabelVersion:
        """Store a label map `(k, j, i)` of a whole case, whose values are positions in `structures`, from 1. `absent`
        are those that somebody looked for and that aren't there."""
        query = {"structures": ",".join(structures), "comment": comment}
        if absent is not None:
            query["absent"] = ",".join(absent)
        kind = {"Content-Type": "application/octet-stream"}
        path = f"/cases/{segment(case_id)}/labels"
        content = compressed(labelmap)
        return self._connection.ask(LabelVersion, "POST", path, params=query, content=content, headers=kind)

    def jobs(self, kind: str | None = None) -> list[Job]:
        """Newest first."""
        return self._connection.get(list[Job], "/jobs", kind=kind)

    def start_job(self, kind: str, model: str, **options: Any) -> Job:
        """`kind` is train or score; `options` are the trainer's or scorer's."""
        return self._connection.post(Job, "/jobs", {"kind": kind, "model": model, "options": options})

    def wait_for_job(self, job_id: str) -> Job:
        """The job once it has ended, however it has."""
        while not (job := self._connection.get(Job, f"/jobs/{segment(job_id)}")).ended:
            time.sleep(POLL_SECONDS)
        return job

    def stop_job(self, job_id: str) -> Job:
        return self._connection.ask(Job, "DELETE", f"/jobs/{segment(job_id)}")

    def versions(self, model: str) -> list[Version]:
        """Newest first."""
        return self._connection.get(list[Version], f"/models/{segment(model)}/versions")

    def serve(self, model: str, version: str) -> Version:
        """Use a version of a model, a rejected one too."""
        return self._connection.post(Version, f"/models/{segment(model)}/serve", {"version": version})

    def export(self, format_name: str, progress: Callable[[float], None] = lambda done: None, **options: Any) -> Export:
        """Export labels (docs/data.md), and wait until that is done or has failed. `options` are the API's."""
        state = self._connection.post(Export, "/exports", {"format": format_name, **options})
        while state.state == "running":
            progress(state.progress)
            time.sleep(EXPORT_POLL_SECONDS)
            state = self._connection.get(Export, f"/exports/{segment(state.id)}")
        return state

    def export_file(self, export_id: str, into: BinaryIO) -> None:
        """Write the zip file of an export that is done."""
        with self._connection.stream(f"/exports/{segment(export_id)}/file") as answer:
            for part in answer.iter_bytes(1 << 20):
                into.write(part)

    def events(self, since: str = "") -> Iterator[Event]:
        """What happens, as it happens, until the server stops. `since` is the id of an earlier event: labels made since
        then come first."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": since} if since else {})}
        with self._connection.stream("/events", headers) as answer:
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name in ("event", "id", "data"):
                    fields[name] = value
                elif not line and "data" in fields:
                    yield Event(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
                    fields = {}
