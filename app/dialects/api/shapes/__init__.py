"""What travels: one file per concept, pydantic models with the names of `docs/api.md`."""
