"""The HTTP toolkit shared by all dialects and pages. Names, statuses and bodies of a protocol belong in its dialect.

| module | holds |
| --- | --- |
| `identity` | the user of a request |
| `errors` | statuses of errors, and validation errors as text |
| `routes` | a route with the dialect's own error responses |
| `bodies`, `forms` | request bodies and forms within a size limit, in memory or on disk |
"""
