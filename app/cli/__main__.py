"""`python -m app.cli`, which is how the server starts its job processes."""

from app.cli import main

main()
