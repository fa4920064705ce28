"""Getting in with a token, and not getting in: another server, which has one."""

from __future__ import annotations

import base64
from dataclasses import replace

from tests.orthanc import free_port
from tests.recording.client import Answer, Form, Json, Site

TOKEN = "a token that nobody guesses"
SHOWN = "a%20token%20that%20nobody%20guesses"


def play(site: Site) -> None:
    open_server = site.server
    folder = open_server.folder.with_name("guarded")
    settings = {**open_server.settings, "token": TOKEN, "origins": ["http://viewer.example"]}
    guarded = replace(open_server, folder=folder, settings=settings, port=free_port(), _process=None)
    site.masks.places[str(guarded.port)] = "<port>"
    guarded.start()
    site.server = guarded
    try:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        site.wait("the archive is read", lambda: site.ask("GET", "/info/", **bearer).get("datastore", "total") != 0)
        _ask_everywhere(site)
        _log_in(site)
        _pages_of_others(site)
    finally:
        site.server = open_server
        guarded.stop()


def _ask_everywhere(site: Site) -> None:
    ways = {
        "nothing": {},
        "bearer": {"Authorization": f"Bearer {TOKEN}"},
        "small letters": {"Authorization": f"bearer  {TOKEN}"},
        "basic": {"Authorization": _basic("anna", TOKEN)},
        "basic without a name": {"Authorization": _basic("", TOKEN)},
        "another": {"Authorization": "Bearer another"},
        "another password": {"Authorization": _basic("anna", "another")},
        "broken": {"Authorization": "Basic !!!"},
    }
    site.wait("the server is ready", lambda: site.ask("GET", "/readyz", **ways["bearer"]).status == 200)
    for headers in ways.values():
        for path in (
            "/livez",
            "/healthz",
            "/info/",
            "/api/v1/device",
            "/auth/",
            "/auth/token/valid",
            "/ohif/app-config.js",
        ):
            site.get(path, **headers)
        site.post("/api/v1/next", Json({"strategy": "first"}), **headers)
        site.post("/claim", **headers)
        site.call("HEAD", "/readyz", **headers)
    for prefix in (f"/t/{SHOWN}", "/t/another"):
        for path in (
            "",
            "/",
            "/info/",
            "/u/ana/api/v1/device",
            "/dicom-web/studies?limit=1",
            "/ohif/app-config.js",
            "/api/health",
        ):
            _without_the_page(site, prefix + path)
        site.post(f"{prefix}/u/ana/api/v1/next", Json({"strategy": "last"}))
        site.post(f"{prefix}/activelearning/first", Json({}))


def _without_the_page(site: Site, path: str) -> Answer:
    return site.glance(path) if path.endswith("/") and path.count("/") == 3 else site.get(path)


def _log_in(site: Site) -> None:
    for password in (TOKEN, "another", ""):
        body = f"grant_type=password&username=anna&password={password.replace(' ', '+')}&client_id=segloop".encode()
        site.post("/auth/token", body, Content_Type="application/x-www-form-urlencoded")
    site.post("/auth/token", Form({"password": TOKEN}))
    site.post("/auth/token", b"\xff" * 10)
    site.call("PUT", "/auth/token")


def _pages_of_others(site: Site) -> None:
    for origin in ("http://viewer.example", "http://evil.example"):
        ask = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "authorization"}
        site.call("OPTIONS", "/info/", Origin=origin, **ask)
        site.get("/info/", Origin=origin, Authorization=f"Bearer {TOKEN}")
        site.get("/info/", Origin=origin)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
