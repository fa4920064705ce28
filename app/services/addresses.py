"""What to enter in each viewer to reach this server: for the message at start and for the page at `/`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

ITKSNAP_PORT = 8911
NNINTERACTIVE_PORT = 1527
"""The default ports of these viewers."""


@dataclass(frozen=True)
class Place:
    """Where the server can be reached.

    `origin` is scheme, host and port without a path. `token` is the access token, "" if none is required. `also` are
    further ports on which it listens. `prefix` is the path at which a proxy serves it, such as `/segloop`.
    """

    origin: str
    token: str = ""
    also: tuple[int, ...] = ()
    prefix: str = ""

    @property
    def root(self) -> str:
        """The base address without the token, without a trailing slash."""
        return self.origin + self.prefix

    @property
    def address(self) -> str:
        """The base address including the token, without a trailing slash."""
        return f"{self.root}/t/{self.token}" if self.token else self.root

    @property
    def host(self) -> str:
        host = urlsplit(self.origin).hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        parts = urlsplit(self.origin)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def on(self, port: int) -> Place:
        """The same place on another port, if the server listens there; no proxy is between then."""
        if port not in self.also:
            return self
        return Place(f"{urlsplit(self.origin).scheme}://{self.host}:{port}", self.token, self.also)


@dataclass(frozen=True)
class ViewerConnection:
    """What to enter in one viewer: `fields` are pairs of a field's name, as the viewer shows it, and its value."""

    viewer: str
    fields: tuple[tuple[str, str], ...]
    note: str = ""


def connections(place: Place) -> list[ViewerConnection]:
    """The connection of every supported viewer."""
    return [
        ViewerConnection("3D Slicer, module MONAI Label", (("server", place.address),)),
        ViewerConnection("OHIF, MONAI Label extension", (("server", f"{place.address}/"),)),
        _itksnap(place.on(ITKSNAP_PORT)),
        *_nninteractive(place.on(NNINTERACTIVE_PORT)),
        ViewerConnection("3D Slicer, module ITKIT", (("server", place.address),)),
        ViewerConnection("MITK, MONAI Label tool", (("server", place.root),), _mitk_note(place)),
        ViewerConnection("Python, MONAI Label", (("code", f'MONAILabelClient("{place.address}")'),)),
    ]


def _itksnap(place: Place) -> ViewerConnection:
    """ITK-SNAP has a host and a port field and can't send a header, so the token goes into the address's user part,
    which libcurl understands. It uses https for port 443 and http for every other port."""
    host = f"user:{place.token}@{place.host}" if place.token else place.host
    note = "the token within the host is untested; if it doesn't get in, use an SSH tunnel" if place.token else ""
    if place.prefix:
        note = f"it can't be given the path {place.prefix}; use a port of its own (--also-port {ITKSNAP_PORT})"
    return ViewerConnection("ITK-SNAP, deep learning server", (("host", host), ("port", str(place.port))), note)


def _nninteractive(place: Place) -> list[ViewerConnection]:
    key = (("API key", place.token),) if place.token else ()
    argument = f', api_key="{place.token}"' if place.token else ""
    python = f'nnInteractiveRemoteInferenceSession("{place.root}"{argument})'
    return [
        ViewerConnection("3D Slicer, nnInteractive 1.x", (("server", place.root), *key)),
        ViewerConnection(
            "3D Slicer, nnInteractive up to 0.3",
            (("server", f"{place.address}/u/NAME"),),
            "NAME is yours alone: it keeps your image apart from other people's",
        ),
        ViewerConnection("napari, nnInteractive", (("server", place.root), *key)),
        ViewerConnection("Python, nninteractive-client", (("code", python),)),
    ]


def _mitk_note(place: Place) -> str:
    return "untested; it may drop the path with the token, so use an SSH tunnel then" if place.token else "untested"
