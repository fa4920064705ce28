"""`segloop serve`."""

from __future__ import annotations

import logging
import logging.handlers
import os
import secrets
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from app.errors import ConfigurationError
from app.settings import Settings, load
from app.web.gate import LOOPBACK
from app.workspace import Workspace


def run(config: Path | None, given: Mapping[str, Any]) -> None:
    """Serve until stopped. Raises `ConfigurationError`."""
    settings, _ = load(config, given)
    paths = Workspace.open(settings.workspace)
    token = the_token(settings, paths)
    _log_to(paths.log)
    listener = _listen(settings)
    port = int(listener.getsockname()[1])

    import uvicorn

    from app.main import create_app

    app = create_app(settings, token=token)
    server = uvicorn.Server(
        # The access log would show tokens that travel in paths.
        uvicorn.Config(app, access_log=False, log_config=None, timeout_graceful_shutdown=20, server_header=False)
    )
    typer.echo(banner(settings, token, port))
    server.run(sockets=[listener])


def the_token(settings: Settings, paths: Workspace) -> str:
    """What clients have to show; "" for a server on loopback that nobody gave a token.

    A pod without one gets one, made once and kept on its volume. Raises `ConfigurationError` for any other address
    without a token: whoever can reach it could read every image.
    """
    token = settings.secret_token
    if token or (settings.host in LOOPBACK and not settings.pod):
        return token
    if settings.pod:
        if not paths.token.exists():
            with os.fdopen(os.open(paths.token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return paths.token.read_text().strip()
    raise ConfigurationError(
        f"listening on {settings.host} lets others in, so it needs a token. Either set SEGLOOP_TOKEN (any long random"
        " text), or name a file that holds one with SEGLOOP_TOKEN_FILE or `token_file:` in the configuration, or stay"
        " on this machine with --host 127.0.0.1 and reach it through an SSH tunnel"
    )


def banner(settings: Settings, token: str, port: int) -> str:
    """What to type into each viewer."""
    addresses = [f"http://{_shown(settings.host)}:{port}"]
    pod = os.environ.get("RUNPOD_POD_ID", "") if settings.pod else ""
    if pod:
        addresses = [f"https://{pod}-{port}.proxy.runpod.net"]
        public, mapped = os.environ.get("RUNPOD_PUBLIC_IP"), os.environ.get(f"RUNPOD_TCP_PORT_{port}")
        if public and mapped:
            addresses.append(f"http://{public}:{mapped}")
    lines = [f"{settings.name}: studies from {settings.studies}, kept in {settings.workspace.absolute()}"]
    for address in addresses:
        within = f"{address}/t/{token}" if token else address
        lines += [
            f"  page           {within}/",
            f"  3D Slicer      MONAI Label module, server: {within}",
            f"  OHIF           MONAI Label extension, server: {within}/",
            f"  Python         MONAILabelClient({within!r})",
        ]
    if token:
        lines.append(
            "  The token in these addresses lets anyone in who has it; clients may send it as Bearer or Basic too."
        )
        if any(address.startswith("http://") for address in addresses) and settings.host not in LOOPBACK:
            lines.append("  Plain http carries it readably: use it inside a tunnel, a private network, or behind TLS.")
    return "\n".join(lines)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}; choose another with --port"
        ) from error
    return listener


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - shown, not listened on
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _log_to(file: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=10 * 2**20, backupCount=3, encoding="utf-8")
    console = logging.StreamHandler()
    console.setLevel(logging.WARNING)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler, console]
    )
    for noisy in ("apscheduler", "httpx", "urllib3", "dicomweb_client"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # These quote values of DICOM headers, which are patients' data.
    for library in ("pydicom", "highdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=rf"{library}(\..*)?")
