"""Pages for people with accounts: signing in, and their own tokens. Plain forms, without scripts."""

from app.web.people.pages import router

__all__ = ["router"]
