"""nnInteractive's client/server protocol (2.6.0): its own client, 3D Slicer's extension from 1.0 on, napari.

| module | holds |
| --- | --- |
| `endpoints` | the routes, and encoding what changed |
| `leases`, `client_session` | client leases; the image and session of a lease |
| `requests`, `arrays` | decoding: JSON and headers, prompts, arrays |
| `capabilities` | the model's supported prompts |
| `routes` | error responses |

Axes are those of the image as sent, `(c, k, j, i)` for 3D Slicer; they are never reordered. Endpoints that receive
arrays await the upload; everything else runs in threads.
"""

from __future__ import annotations

from app.dialects.nninteractive.endpoints import router

__all__ = ["router"]
