"""SlicerNNInteractive up to 0.3.2: one image and one mask per user, without sessions.

Protocol: docs/protocols/slicer-legacy.md.

| module | holds |
| --- | --- |
| `endpoints` | the routes |
| `people` | the user of a request |
| `npy`, `prompts` | decoding files and prompts |
| `routes` | distinguishing this protocol from nnInteractive's, and error responses |

Arrays and coordinates are `(k, j, i)` on the wire.
"""

from __future__ import annotations

from app.dialects.slicer_legacy.endpoints import router

__all__ = ["router"]
