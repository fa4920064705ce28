"""The two-part answer of `/infer/` (docs/protocols/monailabel.md, section 5.2): parameters, then the mask file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import Response


def params_and_file(params: Mapping[str, Any], name: str, content: bytes) -> Response:
    """One whole body with its length: clients read the raw socket and can't take chunks apart.

    Protocol: docs/protocols/monailabel.md, section 1.3.

    `params` has no file name, which is how they tell it from the file; `name` is what they call the file.
    """
    boundary = secrets.token_hex(16)
    body = b"\r\n".join(
        (
            f"--{boundary}".encode(),
            b'Content-Disposition: form-data; name="params"',
            b"Content-Type: application/json",
            b"",
            json.dumps(params).encode(),
            f"--{boundary}".encode(),
            f'Content-Disposition: form-data; name="image"; filename="{name}"'.encode(),
            b"Content-Type: application/octet-stream",
            b"",
            content,
            f"--{boundary}--".encode(),
            b"",
        )
    )
    # no-transform: a proxy on the way (a rented pod's, say) mustn't compress and thereby chunk it either.
    headers = {"Cache-Control": "no-store, no-transform"}
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}", headers=headers)
