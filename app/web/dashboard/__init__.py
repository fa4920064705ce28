"""The dashboard at `/`, for the project's operator: progress, the queue, and problems that need attention.

| module | holds |
| --- | --- |
| `work` | contributions per person, the queue, the newest labels |
| `learning` | jobs, learning curves, model versions |
| `health` | archive and outbox, prompt sessions, problems |
| `pages` | routes, templates and static files |

Each panel has a frozen view of plain values, a function `read_...` that fills it from the services (blocking: call it
on a thread), and one template. The server renders all panels, so the page works without JavaScript; its script polls
`dashboard/panels/<name>`, which renders the same templates. Changes are made through the native API, `api/v1`.
"""

from app.web.dashboard.pages import router

__all__ = ["router"]
