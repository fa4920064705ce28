"""A client of a segloop server, for programs: `/api/v1` with types. docs/client.md shows how it is used.

    from app.client import Client, Point

    with Client("http://127.0.0.1:8000", user="ana") as client:
        offer = client.next_case()
        with client.open_session(offer.case.id) as session:
            session.add(Point((20, 40, 40)))
            session.submit("liver")

It has no code of the server but `app.core` and the errors. What a server adds to its answers later is ignored.
"""

from app.client.client import Client
from app.client.connection import Refused
from app.client.session import PromptSession
from app.client.shapes import (
    Case,
    Event,
    Export,
    Job,
    LabelVersion,
    LabelVoxels,
    Model,
    Offer,
    ServerInfo,
    Session,
    SubmittedLabel,
    Version,
)
from app.core.prompt import Box, InitialMask, Lasso, Point, Region, Scribble

__all__ = [
    "Box",
    "Case",
    "Client",
    "Event",
    "Export",
    "InitialMask",
    "Job",
    "LabelVersion",
    "LabelVoxels",
    "Lasso",
    "Model",
    "Offer",
    "Point",
    "PromptSession",
    "Refused",
    "Region",
    "Scribble",
    "ServerInfo",
    "Session",
    "SubmittedLabel",
    "Version",
]
