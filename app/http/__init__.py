"""What every dialect and page needs of HTTP. Each dialect states its own names, statuses and bodies on top of it.

| module | holds |
| --- | --- |
| `identity` | who sends a request |
| `errors` | statuses of errors, and validation errors in words |
| `routes` | a route whose errors a dialect words itself |
| `bodies`, `forms` | bodies and forms within a limit, in memory or on disk |
"""
