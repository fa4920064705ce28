"""nnInteractive's client/server protocol (2.6.0): its own client, 3D Slicer's extension from 1.0 on, napari.

| module | holds |
| --- | --- |
| `endpoints` | the routes, and encoding what changed |
| `leases`, `client_session` | who holds a session and for how long; what is done in it |
| `requests`, `arrays` | decoding: JSON and headers, prompts, arrays |
| `capabilities` | what the model takes |
| `routes` | errors as clients expect them |

Axes are those of the image as it was sent, `(c, k, j, i)` for 3D Slicer; nothing is turned round. Endpoints that take
arrays await the upload, and everything else runs in threads.
"""

from __future__ import annotations

from app.dialects.nninteractive.endpoints import router

__all__ = ["router"]
