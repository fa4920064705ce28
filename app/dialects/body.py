"""Where bodies were before `app.http.bodies`, for the modules that still look here."""

from app.http.bodies import whole_body

__all__ = ["whole_body"]
