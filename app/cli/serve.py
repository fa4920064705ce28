"""`segloop serve`."""

from __future__ import annotations

import errno
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

from app.cli.banner import banner
from app.errors import ConfigurationError, Conflict, SegloopError
from app.settings import Settings, load
from app.web.browsers import LOOPBACK
from app.workspace import Workspace
from app.workspace_lock import locked

LEAST_CHARACTERS, LEAST_DIFFERENT = 16, 6
"""Of a token. 16 random hexadecimal digits are 64 bits."""


def run(config: Path | None, given: Mapping[str, Any]) -> None:
    """Serve until stopped. Raises `ConfigurationError`, and `Conflict` for a port or a workspace that is in use."""
    settings, _ = load(config, given)
    paths = Workspace.prepared(settings.workspace)
    with locked(paths.root, "segloop serve"):
        _serve(settings, Workspace.open(paths.root))


def _serve(settings: Settings, paths: Workspace) -> None:
    token = resolve_token(settings, paths)
    _log_to(paths.log)
    listeners = _listen(settings)

    import uvicorn

    from app.main import create_app
    from app.web.zero_copy import protocol

    app = create_app(settings, token=token)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol(settings.zero_copy),
            access_log=False,  # it would show tokens in paths
            log_config=None,
            timeout_graceful_shutdown=20,
            server_header=False,
            proxy_headers=False,  # app.web.forwarding
        )
    )
    # Long-lived connections (progress events) check this.
    app.state.leaving = lambda: server.should_exit
    typer.echo(banner(settings, token, [int(listener.getsockname()[1]) for listener in listeners]))
    if settings.accounts and (code := app.state.services.accounts.first_code):
        typer.echo(f"  No accounts yet. Make the first administrator's on the page, with the code {code}")
    # One application and one lifespan behind all ports.
    server.run(sockets=listeners)


def resolve_token(settings: Settings, paths: Workspace) -> str:
    """The token that clients must send; "" for a server on loopback without one.

    With accounts none is needed. A pod without one generates it once and stores it on its volume. Raises
    `ConfigurationError` for any other address without a token, where everybody who can connect could read all images,
    and for a token that can be guessed.
    """
    token = settings.secret_token
    if token and (len(token) < LEAST_CHARACTERS or len(set(token)) < LEAST_DIFFERENT):
        raise ConfigurationError(
            f"the token can be guessed: it needs at least {LEAST_CHARACTERS} characters, {LEAST_DIFFERENT} of them"
            " different. Make one with `openssl rand -hex 24`"
        )
    if token or settings.accounts or (settings.host in LOOPBACK and not settings.pod):
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


def _listen(settings: Settings) -> list[socket.socket]:
    """Listening sockets for the main port and the others, all or none.

    Opened before anything else starts, so that a port in use is reported at once. Raises `Conflict`, or
    `ConfigurationError` for an address that this machine doesn't have.
    """
    listeners: list[socket.socket] = []
    try:
        for port in dict.fromkeys((settings.port, *settings.also_ports)):
            listeners.append(_listener(settings.host, port))
    except SegloopError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        problem = f"can't listen on {host}:{port}: {error.strerror}; choose others with --port and --also-port"
        raise (Conflict if error.errno == errno.EADDRINUSE else ConfigurationError)(problem) from error
    return listener


_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}
_ESCAPED_IN_LINES = {code: text for code, text in _ESCAPED.items() if chr(code) not in "\n\t"}


class OneLine(logging.Formatter):
    """Escapes control characters and line ends in messages, which quote what clients sent; a traceback keeps its
    lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides
        """See `logging.Formatter`."""
        return super().formatMessage(record).translate(_ESCAPED)

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return super().format(record).translate(_ESCAPED_IN_LINES)


def _log_to(file: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=10 * 2**20, backupCount=3, encoding="utf-8")
    console = logging.StreamHandler()
    console.setLevel(logging.WARNING)
    for one in (handler, console):
        one.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler, console])
    for noisy in ("apscheduler", "httpx", "urllib3", "dicomweb_client"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # These libraries quote DICOM header values, which are patient data.
    for library in ("pydicom", "highdicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=rf"{library}(\..*)?")
