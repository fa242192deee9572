"""Sagas as their authors write them, in Python or in YAML, to what the engine drives.

Read in this order: `authoring` (the words), `python_source` and `yaml_source` (what was written, and where), `words`
and `model` (which values are allowed), `outline` and `rules` (which of them fit together), `check` (one saga, with all
that is wrong with it), `conflicts` (what two sagas cannot both have), `mentions` and `expressions` (conditions and
mappings), `samples`, `cases` and `trials` (what becomes of an expression, before any saga runs), `inputs` (a producer's
data by the saga's schema), `shapes` (a worker's answer by the step's), `document` (what Postgres keeps), `catalog` (all
sagas and what starts each), `loading` (the way from names to catalog), `graph` (a saga as people look at it).
"""

from saga_service.definitions.authoring import Retry, Saga, Step, Trigger
from saga_service.definitions.catalog import Catalog
from saga_service.definitions.document import UnreadableDocument, definition_from_document, definition_to_document
from saga_service.definitions.graph import graph
from saga_service.definitions.loading import load_definitions
from saga_service.definitions.problems import DefinitionErrors, Problem
from saga_service.definitions.saga_spec import DefinedSaga, StreamTrigger, readable_saga_spec, saga_spec_from_document
from saga_service.definitions.validation import check_saga

__all__ = [
    "Catalog",
    "DefinedSaga",
    "DefinitionErrors",
    "Problem",
    "Retry",
    "Saga",
    "Step",
    "StreamTrigger",
    "Trigger",
    "UnreadableDocument",
    "check_saga",
    "definition_from_document",
    "definition_to_document",
    "graph",
    "load_definitions",
    "readable_saga_spec",
    "saga_spec_from_document",
]
