"""What `segloop serve` prints at start: its addresses, and what to enter in each viewer."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from app.services.addresses import Place, connections
from app.settings import Settings
from app.web.browsers import LOOPBACK


def banner(settings: Settings, token: str, ports: Sequence[int]) -> str:
    """The message. `ports` are those that the server listens on, the main one first."""
    places = places_of(settings, token, ports)
    lines = [f"{settings.name}: studies from {settings.studies}, kept in {settings.workspace.absolute()}"]
    if len(ports) > 1:
        lines.append(f"  listening on ports {', '.join(map(str, ports))}")
    for place in places:
        lines.append(f"  {'page':<36}{place.address}/")
        for connection in connections(place):
            lines.append(
                f"  {connection.viewer:<36}{'   '.join(f'{name}: {typed}' for name, typed in connection.fields)}"
            )
            if connection.note:
                lines.append(f"  {'':<36}({connection.note})")
    if token:
        lines.append(
            "  Anyone who has the token in these addresses has access; clients may also send it as Bearer or Basic."
        )
        if any(place.origin.startswith("http://") for place in places) and settings.host not in LOOPBACK:
            lines.append("  Plain HTTP sends it unencrypted: use it in a tunnel, in a private network, or behind TLS.")
    return "\n".join(lines)


def places_of(settings: Settings, token: str, ports: Sequence[int]) -> list[Place]:
    """The addresses of this server; on a rented pod, those of its proxy and of its public IP."""
    port, *others = ports
    pod = os.environ.get("RUNPOD_POD_ID", "") if settings.pod else ""
    if not pod:
        return [Place(f"http://{_shown(settings.host)}:{port}", token, tuple(others))]
    # Each port of a pod has its own host name or public port, so no other ports belong to an address.
    places = [Place(f"https://{pod}-{port}.proxy.runpod.net", token)]
    public = os.environ.get("RUNPOD_PUBLIC_IP")
    mapped = os.environ.get(f"RUNPOD_TCP_PORT_{port}")
    if public and mapped:
        places.append(Place(f"http://{public}:{mapped}", token))
    return places


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - shown, not listened on
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
