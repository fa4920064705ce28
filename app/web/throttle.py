"""Slowing down whoever guesses."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from hashlib import sha256

from cachetools import LRUCache

BURST = 20
"""Wrong credentials from one address, or for one account, before it is slowed down."""

PER_SECOND = 5.0
"""How many more are looked at per second."""

_MOST = 10_000


class Throttle:
    """Counts wrong credentials by key (an address, an account). Not thread-safe: it is used on the event loop.

    What was right once is remembered (as a digest), so that nobody who is in is kept waiting for what others try at the
    same address.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: LRUCache[str, tuple[float, float]] = LRUCache(_MOST)  # key -> (failures left to forget, as of)
        self._right: LRUCache[bytes, None] = LRUCache(_MOST)

    def allows(self, keys: list[str], secret: str) -> bool:
        """Whether a credential may be looked at now."""
        return self._digest(secret) in self._right or all(self._count(key) < BURST for key in keys)

    def failed(self, keys: list[str]) -> None:
        """Count a wrong credential."""
        for key in keys:
            self._spent[key] = (self._count(key) + 1, self._clock())

    def succeeded(self, secret: str) -> None:
        """Remember a right one."""
        self._right[self._digest(secret)] = None

    def _count(self, key: str) -> float:
        count, since = self._spent.get(key, (0.0, 0.0))
        return max(0.0, count - (self._clock() - since) * PER_SECOND)

    @staticmethod
    def _digest(secret: str) -> bytes:
        return sha256(secret.encode()).digest()


def network_of(address: str) -> str:
    """An address as it is counted: an IPv6 host has a whole /64 to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else address
