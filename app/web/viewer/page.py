"""Rendering index.html and `app-config.js` for a request, and the page with instructions if OHIF isn't installed."""

from __future__ import annotations

import json
import secrets
from html import escape
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse

from app.web.viewer.install import BASE, NONCE, PINNED

# The browser must not contact any other server, whatever OHIF's code does. WebAssembly decodes compressed images;
# blob: URLs are workers and images created in the page.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)

_MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>No viewer yet - {name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
code {{ padding: .1em .3em; border: 1px solid; border-radius: .25em; }}
</style></head><body>
<h1>The viewer is not installed yet</h1>
<p>{name} shows images here with OHIF. Whoever runs this server gets it once, with the server running or not:</p>
<p><code>segloop viewer install</code></p>
<p>This fetches {package} with npm (48 MB), checks that it is what it should be, and puts it into
<code>{folder}</code>; give it the same <code>--config</code> or <code>--workspace</code> as <code>segloop serve</code>.
Then load this page again.</p>
<p>On a machine without internet: run <code>npm pack {package}</code> where there is some, bring the file
<code>{file}</code> here, and say <code>segloop viewer install --from {file}</code>.</p>
<p>Every other viewer works without this: <a href="{root}/">what to type into each</a>.</p>
</body></html>
"""


def index(template: Path, root: str) -> HTMLResponse:
    """Fill in the placeholders of index.html. `template` is the installed file; `root` is percent-encoded."""
    nonce = secrets.token_urlsafe(16)
    page = template.read_bytes().replace(BASE, f"{root}/ohif/".encode()).replace(NONCE, nonce.encode())
    headers = {
        "Content-Security-Policy": _POLICY.format(nonce=nonce),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(page, headers=headers)


def missing(name: str, folder: Path, root: str) -> HTMLResponse:
    """The page for a viewer that isn't installed. 503, because the URL will work once it is installed."""
    page = _MISSING.format(
        name=escape(name), package=PINNED.package, file=PINNED.file, folder=escape(str(folder)), root=root
    )
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page, 503, headers)


PLUGIN = "plugin"
"""The path below the viewer's base where the extension's modules are served."""

SOURCE = "segloop"


def app_config(root: str, name: str) -> str:
    """OHIF's configuration script. `root` is this server's path prefix ("" or `/t/<token>`, percent-encoded); `name` is
    the server's name."""
    base = f"{root}/ohif/"
    config: dict[str, Any] = {
        "routerBasename": base,
        "showStudyList": True,
        # OHIF imports an unknown extension name as the URL of a module.
        "extensions": ["@ohif/extension-cornerstone-dicom-seg", f"{base}{PLUGIN}/extension.js"],
        "modes": [f"{base}{PLUGIN}/mode.js"],
        "customizationService": {},
        "groupEnabledModesFirst": True,
        "maxNumberOfWebWorkers": 3,
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
        "showWarningMessageForCrossOrigin": True,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        # The first press on another viewport draws at once instead of only activating it.
        "activateViewportBeforeInteraction": False,
        # OHIF's notice that it is no medical device: shown every 30 days, not on every case.
        "investigationalUseDialog": {"option": "configure", "days": 30},
        "defaultDataSourceName": SOURCE,
        "dataSources": [_data_source(root, name)],
    }
    return f"window.config = {json.dumps(config, indent=1)};\n"


def _data_source(root: str, name: str) -> dict[str, Any]:
    return {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": SOURCE,
        "configuration": {
            "friendlyName": name,
            "name": SOURCE,
            "qidoRoot": f"{root}/dicom-web",
            "wadoRoot": f"{root}/dicom-web",
            "wadoUriRoot": f"{root}/dicom-web/wado",
            "qidoSupportsIncludeField": True,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "dicomUploadEnabled": True,
            "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        },
    }
