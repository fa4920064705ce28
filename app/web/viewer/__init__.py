"""OHIF in the browser, at `/ohif/`: stock files of a pinned release, and this server's own extension beside them.

| module | holds |
| --- | --- |
| `install` | from npm's tarball to a folder that can be served |
| `page` | index.html and `app-config.js` as each request needs them |
| `routes` | the addresses, and what may be served: known names only |

The extension's own files are in `app/web/ohif/`; `docs/ohif.md` says how all this is used.
"""

from app.web.viewer.routes import router

__all__ = ["router"]
