"""Where forms were before `app.http.forms`, for the modules that still look here."""

from app.http.forms import Form, Upload, received

__all__ = ["Form", "Upload", "received"]
