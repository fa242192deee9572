"""Saga definitions: from what an author writes, in Python or in YAML, to what the engine drives.

Five wings, each of which knows only those before it:

- `sources` reads what was written, with the line of every value;
- `schema` reads inputs and outputs by their schemas, and makes sample values;
- `expressions` compiles and evaluates conditions and mappings (CEL);
- `checks` finds what does not fit together;
- `compatibility` finds what does not fit the workers.

Around them, in the order of a definition's way: `authoring` (the classes that Python authors use), `keywords` (what
may be written, and every default), `values` and `model` (which values are allowed, one by one and as a whole),
`outline` (a saga's steps, even where it has errors), `validation` (one saga, or all that is wrong with it), `document`
(the form in Postgres, and the saga made of it), `catalog` (what the service starts sagas by, from the names of files)
and `graph` (a saga as a picture). `problems` is the form in which all of them report.
"""

from saga_service.definitions.authoring import Defaults, Retry, Saga, Step, Trigger
from saga_service.definitions.catalog import Catalog, load_definitions
from saga_service.definitions.document import (
    DefinedSaga,
    StreamTrigger,
    definition_from_document,
    definition_to_document,
    readable_saga_spec,
    saga_spec_from_document,
)
from saga_service.definitions.graph import graph
from saga_service.definitions.problems import DefinitionErrors, Problem
from saga_service.definitions.validation import check_saga
from saga_service.wire.saga_spec import UnreadableDocument

__all__ = [
    "Catalog",
    "Defaults",
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
