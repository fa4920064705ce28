"""The page at `/`: what this server is, and what to type into each viewer."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.services import Services

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
code {{ padding: .1em .3em; border: 1px solid; border-radius: .25em; }}
dt {{ font-weight: 600; margin-top: 1rem; }} dd {{ margin: .25rem 0 0; }}
</style></head><body>
<h1>{name}</h1>
<p>{description}. {completed} of {total} images are labelled.</p>
<dl>
<dt>3D Slicer, module MONAI Label</dt><dd>server address: <code>{address}</code></dd>
<dt>OHIF with the MONAI Label extension</dt><dd>server address: <code>{address}/</code></dd>
<dt>Python</dt><dd><code>MONAILabelClient("{address}")</code></dd>
</dl>
<p><a href="docs">What programs can ask</a> · <a href="info/">info</a> · <a href="readyz">state</a></p>
</body></html>
"""


def router(services: Services) -> APIRouter:
    api = APIRouter(include_in_schema=False)

    @api.get("/")
    def home(request: Request) -> HTMLResponse:
        total, completed = services.cases.counts()
        page = _PAGE.format(
            name=escape(services.settings.name),
            description=escape(services.settings.description.rstrip(".")),
            address=escape(str(request.base_url).rstrip("/")),
            total=total,
            completed=completed,
        )
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})

    return api
