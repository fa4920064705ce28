"""The dashboard, OHIF's frame, health, and the API page."""

from __future__ import annotations

from tests.recording.client import Site

PANELS = ("attention", "progress", "learning", "queue", "jobs", "models", "labels", "archive", "sessions")


def play(site: Site) -> None:
    site.wait("the server is ready", lambda: site.ask("GET", "/readyz").status == 200)
    for path in ("/livez", "/healthz", "/readyz"):
        site.get(path)
        site.call("HEAD", path)
    site.get("/?strategy=first")
    site.get("/?strategy=first&page=2&zone=Europe/Berlin")
    site.get("/u/ana/?strategy=last")
    for panel in PANELS:
        # Strategies that draw a random order show another each time.
        site.get(f"/dashboard/panels/{panel}?strategy=first")
    site.get("/dashboard/panels/queue?strategy=nobody")
    for path in (
        "/dashboard/panels/nothing",
        "/?page=0",
        "/dashboard/static/nothing.js",
        "/dashboard/static/../routes.py",
    ):
        site.get(path)
    for name in ("main.js", "dashboard.css", "icon.svg", "vendor/uPlot.esm.js"):
        site.glance(f"/dashboard/static/{name}")
    for path in (
        "/ohif",
        "/ohif/",
        "/ohif/app-config.js",
        "/ohif/nothing.js",
        "/u/ana/ohif/app-config.js",
        "/ohif/plugin/nothing.js",
    ):
        site.get(path)
    for name in ("extension.js", "mode.js"):
        site.glance(f"/ohif/plugin/{name}")
    site.get("/favicon.ico")
    for method, path in (("POST", "/"), ("DELETE", "/livez"), ("OPTIONS", "/info/")):
        site.call(method, path)
    site.get("/livez", Host="evil.example")
    site.get("/livez", Origin="http://evil.example")
    site.get("/livez", Origin="http://localhost:3000")
    site.get("/livez", Sec_Fetch_Site="cross-site")
