"""ITK-SNAP's requests, as its two generations of client make them over libcurl.

Protocol: docs/protocols/itksnap.md, sections 1 to 3.

One connection, one request at a time, no Accept-Encoding, no user agent, no cookies; the multipart layout is libcurl's.
Like the real one it takes anything with status 200 for a success, never asks for a new session after an error, and
forgets its session only when a server or another model is chosen.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

Kind = Literal["scribble", "lasso"]


@dataclass(frozen=True, eq=False)
class Image:
    """What is open in ITK-SNAP: voxels `(k, j, i)`, or `(j, i)` for a displayed slice, in the terms of ITK."""

    voxels: NDArray[np.generic]
    spacing: tuple[float, ...] = (0.8, 0.9, 2.5)
    origin: tuple[float, ...] = (-10.0, 4.5, 33.0)
    direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1)

    def metadata(self) -> str:
        axes = self.voxels.ndim
        told = {
            "components_per_pixel": 1,
            "component_type": "float32",
            "dimensions": list(self.voxels.shape[::-1]),
            "spacing": list(self.spacing[:axes]),
            "origin": list(self.origin[:axes]),
            "direction": list(self.direction if axes == 3 else (1, 0, 0, 1)),
        }
        return json.dumps(told, indent=3)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """What ITK-SNAP shows in a message box."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status}: {answer.body.decode()}")
        self.answer = answer


@dataclass
class Wire:
    """libcurl, as far as it matters here."""

    port: int
    login: str = ""
    _connection: http.client.HTTPConnection | None = None

    def get(self, path: str, query: list[tuple[str, object]] | None = None) -> Answer:
        return self.ask("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post_voxels(self, path: str, packed: bytes, metadata: str) -> Answer:
        boundary = "------------------------" + secrets.token_hex(11)
        body = b"".join(
            (
                f"--{boundary}\r\n".encode(),
                b'Content-Disposition: form-data; name="file"; filename="image.gz"\r\n',
                b"Content-Type: application/gzip\r\n\r\n",
                packed,
                f"\r\n--{boundary}\r\n".encode(),
                b'Content-Disposition: form-data; name="metadata"\r\n',
                b"Content-Type: application/json\r\n\r\n",
                metadata.encode(),
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        return self.ask("POST", path, body, f"multipart/form-data; boundary={boundary}")

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Answer:
        """A kept connection that turns out to be dead is replaced, once, as libcurl does."""
        kept = self._connection is not None
        try:
            return self._ask(method, path, body, kind)
        except (http.client.HTTPException, ConnectionError):
            self.hang_up()
            if not kept:
                raise
            return self._ask(method, path, body, kind)

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: bytes, kind: str) -> Answer:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port)
        wire = self._connection
        wire.putrequest(method, path, skip_accept_encoding=True)
        if self.login:
            wire.putheader("Authorization", "Basic " + base64.b64encode(self.login.encode()).decode())
        wire.putheader("Accept", "*/*")
        if method == "POST":
            wire.putheader("Content-Length", str(len(body)))
            wire.putheader("Content-Type", kind)
            if len(body) > 2**20:
                wire.putheader("Expect", "100-continue")
        wire.endheaders(body)
        got = wire.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())


@dataclass
class ItkSnap:
    """One ITK-SNAP, generation 1 or 2, with a server chosen."""

    wire: Wire
    generation: Literal[1, 2]
    model: str = "nnInteractive"
    session: str = ""
    _sent: Image | None = None
    _label: int | None = None
    _listed: list[dict[str, Any]] = field(default_factory=list)

    def connect(self) -> None:
        """The status poll, the version gate of generation 2, and its list of models."""
        status = self._good(self.wire.get("/status")).json()
        if self.generation == 1:
            return
        if [int(piece) for piece in status["version"].split(".")] < [0, 1, 2]:
            raise RuntimeError("too old")
        self._listed = self._good(self.wire.get("/v2/models")).json()["models"]
        assert "nnInteractive" in [entry["id"] for entry in self._listed]

    def choose_server_again(self) -> None:
        """Forgets the session, and not that the image was sent."""
        self.session = ""

    def choose(self, model: str) -> None:
        if model != self.model and self.session:
            if self.generation == 2:
                self.wire.get(f"/v2/end_session/{self.session}")
            self.session = ""
            self._sent = None
        self.model = model

    def click(self, image: Image, at: tuple[int, ...], label: int = 1, foreground: bool = True) -> NDArray[np.uint8]:
        """`at` is x, y, z, or x, y in a displayed slice."""
        self._prepare(image, label)
        told: list[tuple[str, object]] = [("foreground", str(foreground).lower())]
        if self.generation == 1:
            answer = self.wire.get(f"/process_point_interaction/{self.session}", [*zip("xyz", at, strict=True), *told])
        else:
            points: list[tuple[str, object]] = [("point", x) for x in at]
            answer = self.wire.get(f"/v2/process_point_interaction/{self.session}", [*points, *told])
        return self._mask(answer, image)

    def draw(
        self, image: Image, drawn: NDArray[np.generic], kind: Kind = "scribble", label: int = 1, foreground: bool = True
    ) -> NDArray[np.uint8]:
        if kind == "lasso":
            self.choose("nnInteractive")
        self._prepare(image, label)
        path = f"/process_{kind}_interaction/{self.session}?foreground={str(foreground).lower()}"
        return self._mask(self.wire.post_voxels(path, packed(drawn), image.metadata()), image)

    def _prepare(self, image: Image, label: int) -> None:
        """Steps 3 to 5 of docs/protocols/itksnap.md, section 3."""
        if not self.session:
            path = "/start_session" if self.generation == 1 else f"/v2/start_session/{self.model}"
            self.session = self._good(self.wire.get(path)).json()["session_id"]
        if self._sent is not image:
            path = f"/upload_raw/{self.session}?filename=upload.nii.gz"
            assert self._good(self.wire.post_voxels(path, packed(image.voxels), image.metadata())).json()["message"]
            self._sent = image
        if self._label != label:
            self._good(self.wire.get(f"/reset_interactions/{self.session}"))
            self._label = label

    def _mask(self, answer: Answer, image: Image) -> NDArray[np.uint8]:
        """As the client reads it, plus what it doesn't look at and would crash on."""
        told = self._good(answer).json()
        assert told["status"] == "success"
        assert "content-encoding" not in answer.headers
        content = gzip.decompress(base64.b64decode(told["result"], validate=True))
        assert len(content) == image.voxels.size
        mask = np.frombuffer(content, np.uint8).reshape(image.voxels.shape)
        assert mask.max() <= 1
        return mask

    def _good(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise Refused(answer)
        return answer


def packed(voxels: NDArray[np.generic]) -> bytes:
    """The raw buffer of little-endian float32, x fastest, gzipped."""
    return gzip.compress(np.ascontiguousarray(voxels, "<f4").tobytes(), 1)
