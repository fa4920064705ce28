"""The page at `/`, for the person who runs the project: how far the work is, what comes next, what needs a hand.

Each panel is one file with a frozen view made from plain values, and one template. The server renders them all, so
that the page can be read without JavaScript; the same templates answer `dashboard/panels/<name>`, which is how the
page is kept up to date. Whatever changes something goes through the native API, `api/v1`.
"""

from app.web.dashboard.routes import router

__all__ = ["router"]
