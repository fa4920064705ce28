"""A process that imports the server once and forks a fresh one on demand, so that a hundred kills take a minute.

Each forked process is a whole server: it opens the workspace anew, listens on a port of its own, and dies for real.

    python -m tests.faults.forking SETTINGS.json
    > start
    < PID PORT
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from app import plugins
from app.main import create_app
from app.settings import Settings


def serve(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings)
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])


def main() -> None:
    settings = Settings.read_private(Path(sys.argv[1]))
    plugins.trainers()  # imports what is slow to import
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead needn't be waited for
    for _ in sys.stdin:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(settings, listener)
            os._exit(0)
        listener.close()
        print(pid, port, flush=True)


if __name__ == "__main__":
    main()
