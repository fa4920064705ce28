"""SlicerNNInteractive up to 0.3.2: one image and one mask per person, and no sessions.

Protocol: docs/protocols/slicer-legacy.md.

| module | holds |
| --- | --- |
| `endpoints` | the routes |
| `people` | who a request is from |
| `npy`, `prompts` | decoding files and prompts |
| `routes` | telling this protocol from nnInteractive's, and errors as the client shows them |

Arrays and coordinates are `(k, j, i)` on the wire.
"""

from __future__ import annotations

from app.dialects.slicer_legacy.endpoints import router

__all__ = ["router"]
