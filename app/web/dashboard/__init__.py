"""The page at `/`, for the person who runs the project: how far the work is, what comes next, what needs a hand.

| module | holds |
| --- | --- |
| `work` | who labelled how much, the queue, the labels that came last |
| `learning` | jobs, learning curves, model versions |
| `health` | archive and outbox, prompt sessions, what needs a hand |
| `pages` | routes, templates and files of the page |

Each panel has a frozen view made from plain values, a function `read_...` that fills it from the services (it blocks:
call it on a thread), and one template. The server renders them all, so
that the page can be read without JavaScript; the same templates answer `dashboard/panels/<name>`, which is how the
page is kept up to date. Whatever changes something goes through the native API, `api/v1`.
"""

from app.web.dashboard.pages import router

__all__ = ["router"]
