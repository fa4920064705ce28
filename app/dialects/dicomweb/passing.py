"""Forwarding requests to the archive's own DICOMweb service, with this server's credentials and without the caller's.
Only segmentations of this server's cases stay here: they become labels, which the outbox delivers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from app.dialects.dicomweb import multipart
from app.dialects.dicomweb.accept import DICOM
from app.dialects.dicomweb.common import ROOT, client, person, service_root, uids
from app.dialects.dicomweb.multipart import holds_dicom, parts_of
from app.dialects.dicomweb.store import answer
from app.errors import ArchiveUnavailable, BadInput
from app.http.bodies import spooled_body
from app.services import Services
from app.services.dicomweb.incoming import OUT_OF_RESOURCES, PROCESSING_FAILED, Incoming, Outcome, Reference
from app.services.dicomweb.proxy import DicomwebProxy, Upstream

_CHUNK = 1 << 20
_MOST_ANSWER = 64 << 20


def router(services: Services, proxy: DicomwebProxy) -> APIRouter:
    passing = Passing(proxy, Incoming(services.cases, services.labels), services.settings.labels.max_upload_bytes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await proxy.close()

    api = APIRouter(lifespan=lifespan)

    @api.post(f"/{ROOT}/studies/{{study}}", response_model=None)
    @api.post(f"/{ROOT}/studies", response_model=None)
    async def store(request: Request, study: str = "") -> Response:
        """Store segmentations of cases as labels, and forward the rest."""
        uids(study)
        kind = request.headers.get("content-type", "")
        if not holds_dicom(kind):
            return _passed(await passing.ask(request, f"studies/{study}", request.stream()))
        async with spooled_body(request, services.incoming, passing.max_bytes) as body:
            return await passing.store(request, body, kind, study)

    @api.get(f"/{ROOT}/{{path:path}}", response_model=None)
    @api.head(f"/{ROOT}/{{path:path}}", response_model=None)
    @api.post(f"/{ROOT}/{{path:path}}", response_model=None)
    async def forward(request: Request, path: str) -> Response:
        """Forward the request to the archive."""
        return _passed(await passing.ask(request, path, request.stream() if request.method == "POST" else None))

    return api


@dataclass(frozen=True)
class Passing:
    """Forwards requests to the archive, except the segmentations in store requests."""

    proxy: DicomwebProxy
    incoming: Incoming
    max_bytes: int

    async def ask(
        self,
        request: Request,
        path: str,
        body: AsyncIterator[bytes] | None,
        length: int | None = None,
        kind: str = "",
    ) -> Upstream:
        headers = dict(request.headers)
        if length is not None:
            # Some archives silently ignore a body of unknown length.
            headers["content-length"] = str(length)
        if kind:
            headers["content-type"] = kind
        root = service_root(request)
        return await self.proxy.forward(request.method, path.rstrip("/"), request.url.query, headers, body, root)

    async def store(self, request: Request, body: Path, kind: str, study: str) -> Response:
        """Handle the objects in a received body."""
        others = body.with_name(multipart.new_boundary())
        try:
            outcomes, references = await run_in_threadpool(self._sort, request, body, kind, study, others)
        except BadInput:
            outcomes, references = [], []
        if not outcomes:
            # No labels: the archive gets the body unchanged, and its response is returned.
            return await _whole(await self.ask(request, f"studies/{study}", _read(body), body.stat().st_size))
        said: dict[str, Any] = {}
        if references:
            said, failures = await self._store_others(request, study, others, references)
            outcomes += failures
        return answer(outcomes, service_root(request), study, said)

    def _sort(
        self, request: Request, body: Path, kind: str, study: str, others: Path
    ) -> tuple[list[Outcome], list[Reference]]:
        """Store labels, and write all other objects into `others` as a complete multipart body."""
        references: list[Reference] = []

        def pass_on(part: bytes, reference: Reference) -> None:
            with others.open("ab") as stream:
                stream.write(multipart.part_head(others.name, DICOM, len(part), first=not references))
                stream.write(part)
            references.append(reference)

        parts = parts_of(body, kind, self.max_bytes)
        outcomes = self.incoming.take(parts, study, person(request), client(request), pass_on)
        if references:
            with others.open("ab") as stream:
                stream.write(multipart.end(others.name))
        return outcomes, references

    async def _store_others(
        self, request: Request, study: str, others: Path, references: list[Reference]
    ) -> tuple[dict[str, Any], list[Outcome]]:
        """The archive's results for the forwarded objects; failures if its response can't be used."""
        kind = multipart.content_type(DICOM, others.name)
        try:
            upstream = await self.ask(request, f"studies/{study}", _read(others), others.stat().st_size, kind)
        except ArchiveUnavailable as error:
            # The labels were stored, and the response must include them.
            return {}, [Outcome(one, reason=OUT_OF_RESOURCES, problem=str(error)) for one in references]
        said = _json(await _collected(upstream))
        if said:
            return said, []
        problem = f"the archive answers with status {upstream.status}"
        return {}, [Outcome(one, reason=PROCESSING_FAILED, problem=problem) for one in references]


def _passed(upstream: Upstream) -> StreamingResponse:
    return StreamingResponse(
        upstream.chunks, upstream.status, dict(upstream.headers), background=BackgroundTask(upstream.close)
    )


async def _whole(upstream: Upstream) -> Response:
    """A response read completely, because the request's body file is deleted afterwards."""
    headers = {name: value for name, value in upstream.headers.items() if name.lower() != "content-length"}
    return Response(await _collected(upstream), upstream.status, headers)


async def _collected(upstream: Upstream) -> bytes:
    try:
        content = bytearray()
        async for chunk in upstream.chunks:
            content += chunk
            if len(content) > _MOST_ANSWER:
                raise ArchiveUnavailable("the archive's answer to a store request has no end")
        return bytes(content)
    finally:
        await upstream.close()


def _json(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


async def _read(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as stream:
        while chunk := await run_in_threadpool(stream.read, _CHUNK):
            yield chunk
