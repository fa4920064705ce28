"""OHIF in the browser, at `/ohif/`: the files of a pinned release, and this server's own extension.

| module | holds |
| --- | --- |
| `install` | installing the release from npm's tarball |
| `page` | rendering index.html and `app-config.js` for a request |
| `routes` | the routes; only listed files are served |

The extension's own files are in `app/web/ohif/`; `docs/ohif.md` says how all this is used.
"""

from app.web.viewer.routes import router

__all__ = ["router"]
