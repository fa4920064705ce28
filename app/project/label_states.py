"""Reading what older labels say of each structure: their rows were made before the catalog had it."""

from __future__ import annotations

import logging

from app.archives.label_store import LabelStore
from app.catalog import Catalog
from app.core.label import StructureState
from app.errors import SegloopError

logger = logging.getLogger(__name__)


def read_missing_states(catalog: Catalog, store: LabelStore) -> None:
    """Set the states of versions that have none, from their files, once. With a file that is lost or damaged, nothing
    is known: no structure is examined."""
    older = catalog.labels.without_states()
    if older:
        logger.info("reading what %d older labels say of each structure", len(older))
    for label in older:
        found: dict[str, StructureState] = {}
        try:
            found = store.states(label)
        except SegloopError as error:
            logger.warning("nothing is known of the structures of label %d: %s", label.id, error)
        catalog.labels.set_states({label.id: found})
