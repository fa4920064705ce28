"""POST `/infer/{model}`: segmentation from clicks, boxes, strokes, points per label, or without prompts.

Protocol: docs/protocols/monailabel.md, section 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.core.case import CaseRow
from app.core.label import ORIGINAL, Submission
from app.core.model import ModelCard
from app.dialects.monailabel.answers import Output, Result, answer
from app.dialects.monailabel.clicks import decode_clicks, decode_points, decode_scribbles
from app.dialects.monailabel.params import InferParams, options_of, points_by_label, read_params
from app.dialects.monailabel.routes import caller, route
from app.dialects.monailabel.structures import Start, StructureKey, clicked, drawn
from app.errors import BadInput, NotSupported, UnknownCase, UnknownSession
from app.http.forms import Form, Upload, received
from app.http.routes import JsonRoute
from app.services import Services

NAMELESS = "structure"
"""The structure's name if the client didn't send a label."""


def router(services: Services) -> APIRouter:
    api = APIRouter(route_class=JsonRoute)
    # Registered first: otherwise the model's route would treat "wsi" as a model's name.
    slides, volumes = (
        APIRouter(tags=["whole-slide images"], route_class=JsonRoute),
        APIRouter(tags=["infer"], route_class=JsonRoute),
    )
    inference = Inference(services)

    @route(slides, "POST", "/infer/wsi/{model}")
    @route(slides, "POST", "/infer/wsi_v2/{model}")
    def wsi(model: str) -> None:
        """Not served: 501."""
        raise NotSupported("this server segments radiology volumes; it does not read whole-slide images")

    @route(volumes, "POST", "/infer/{model}")
    async def infer(
        request: Request, model: str, image: str = "", session_id: str = "", output: Output = ""
    ) -> Response:
        """Segment an image, or continue segmenting it."""
        async with received(request, services.incoming, services.settings.labels.max_upload_bytes) as form:
            return await run_in_threadpool(inference.answer, request, form, model, image, session_id, output)

    api.include_router(slides)
    api.include_router(volumes)
    return api


class Inference:
    """Handles `/infer/` after its form was received."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def answer(self, request: Request, form: Form, model: str, image: str, session_id: str, output: Output) -> Response:
        raw = form.json("params")
        params = read_params(raw)
        who = caller(request, params.client_id)
        card = self._services.models.card(model)
        row = self._image(image, session_id, form.upload("file"), who)
        case_id = row.case.id
        self._services.next_case.renew(case_id, who)
        with self._segmented(card, row, raw, params, form, who) as result:
            if params.save_label:
                info = {"client_id": who, "model": model}
                submission = Submission(who, "monailabel", params.label_tag or ORIGINAL, model, info=info)
                mask = result.mask()
                if card.takes_prompts and result.names == (NAMELESS,):
                    mask = mask.renamed([""])  # the name is ours, and says nothing
                self._services.labels.keep_answer(case_id, mask, submission)
            return answer(self._services, result, output, params, case_id, who)

    @contextmanager
    def _segmented(
        self, card: ModelCard, row: CaseRow, raw: dict[str, Any], params: InferParams, form: Form, who: str
    ) -> Iterator[Result]:
        """The result of a call, valid until the block ends. The input depends on the model's kind."""
        options = options_of(card, raw)
        case_id = row.case.id
        if card.kind == "automatic":
            yield Result.of(self._services.automatic.segment(card.name, case_id, options, who))
            return
        geometry = self._services.cases.open(row).geometry
        if card.kind == "deepedit":
            points = {
                name: decode_points(some, geometry.shape)
                for name, some in points_by_label(raw, card.labels).items()
                if some
            }
            if not points:
                yield Result.of(self._services.automatic.segment(card.name, case_id, options, who))
                return
            yield Result.of(self._services.automatic.segment_with_points(card.name, case_id, points, options, who))
            return
        label = params.label or params.selected_label_name
        key, start = StructureKey(who, case_id, card.name, label), Start(row.case.stamp, options)
        if card.kind == "scribbles":
            most = self._services.settings.labels.max_upload_bytes
            prompts = decode_scribbles(params, form.upload("label"), geometry, most)
            held = drawn(self._services.prompting, key, start, prompts)
        else:
            clicks = decode_clicks(params, geometry.shape, card.dimension)
            held = clicked(self._services.prompting, key, start, clicks, params.reset_state)
        with held as session:
            yield Result(
                geometry=geometry,
                names=(label or NAMELESS,),
                labelmap=session.mask.copy,
                gzip=session.gzip,
            )

    def _image(self, image: str, session_id: str, file: Upload | None, who: str) -> CaseRow:
        """The requested case: by session, else file, else image; `params` is ignored.

        Protocol: docs/protocols/monailabel.md, section 5.1.
        """
        seconds = self._services.settings.sessions.upload_seconds
        cases = self._services.cases
        if session_id:
            try:
                row = cases.get(session_id)
            except UnknownCase:
                row = None
            if row is None or row.expires is None:
                raise UnknownSession("this session is over; send the image again")
            cases.touch(row, seconds)
            return row
        if file is not None:
            return cases.add_by_content(file.file, file.name, who, seconds)
        if not image:
            raise BadInput("say which image: image, session_id or a file")
        return cases.get(image)
