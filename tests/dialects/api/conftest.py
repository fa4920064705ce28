from __future__ import annotations

from tests.dialects.monailabel.conftest import fresh, site

__all__ = ["fresh", "site"]
