"""What a browser does to call the API, written anew: nothing here comes from the server's code."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.dialects.monailabel.site import SHAPE, Site

API = "/api/v1"


def get(site: Site, path: str, status: int = 200, **more: Any) -> Any:
    answer = site.client.get(API + path, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


def post(site: Site, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
    answer = site.client.post(API + path, json=body, **more)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def bits(voxels: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(voxels).tobytes()).decode()


def unzipped(text: str, shape: Any) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8).reshape(shape)


def opened_session(site: Site, case_id: str = "case 07", **more: Any) -> str:
    return str(post(site, "/sessions", {"case_id": case_id, "model": "clicks"}, 201, **more)["id"])


def prompt(site: Site, session: str, *prompts: dict[str, Any], **more: Any) -> Any:
    return post(site, f"/sessions/{session}/prompts", {"prompts": list(prompts), **more})


def mask(site: Site, session: str) -> NDArray[np.uint8]:
    answer = site.client.get(f"{API}/sessions/{session}/mask")
    assert answer.status_code == 200
    assert answer.headers["x-shape"] == ",".join(map(str, SHAPE))
    return np.frombuffer(answer.content, np.uint8).reshape(SHAPE)  # the client has unzipped it
