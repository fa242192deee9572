"""From a function to a handler: its signature is read once, and what cannot work is refused here.

A handler is `async def name(command: Model, context: StepContext, connection: asyncpg.Connection) -> Result`. The
command is a pydantic model or a `dict[str, Any]`; context and connection may be left out; the result is a pydantic
model, a mapping, or None. A handler that takes a connection is transactional: see `inbox`.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Never,
    NoReturn,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaValidator

from saga_service.wire.commands import OUTPUTS_FIELD, ReceivedCommand
from saga_service.worker.context import StepContext
from saga_service.worker.errors import WrongHandler

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Result = BaseModel | Mapping[str, Any] | None
HandlerFunction = Callable[..., Coroutine[Any, Any, Result]]

FIELD_ERRORS_SHOWN_MAX = 10
_COMMAND_MAPPINGS = (dict, dict[str, Any], dict[str, object], Mapping, Mapping[str, Any], Mapping[str, object])
_SIGNATURE = "async def {name}(command: YourModel, context: StepContext) -> YourResult"


class InvalidCommand(Exception):
    """A command's data does not fit the handler's model; the text names each field."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function, with what its signature and its options say."""

    command_type: str
    function: HandlerFunction
    validator: SchemaValidator | None
    """None for a function that takes the data as a dict."""
    forbids_outputs: bool
    """True for a model that refuses unknown fields and has none for the outputs, which every command carries."""
    takes_context: bool
    model: type[BaseModel] | None = None
    """The model of the data; None for a function that takes a dict."""
    result: Any = None
    """The annotation of the result."""
    takes_connection: bool = False
    """True for a function that runs in a transaction of the inbox and writes its effect on this connection."""
    undoes: str | None = None
    """The command type of the action whose absence from the inbox proves that there is nothing to undo."""
    answers_probes: bool = False
    """True for a type that the inbox answers; the function is never called."""
    heartbeat_s: float | None = None
    concurrency: int | None = None
    seconds_between: float = 0.0

    @property
    def is_limited(self) -> bool:
        return self.concurrency is not None or self.seconds_between > 0

    @property
    def name(self) -> str:
        return _name(self.function)

    def absence_is_proof(self, command: ReceivedCommand) -> bool:
        """True for an undo whose action did not happen if the inbox has no record of it."""
        # A saga that knows the action's result sends it along with the undo.
        outputs = command.data.get(OUTPUTS_FIELD)
        known_to_be_done = isinstance(outputs, dict) and command.step in outputs
        return self.undoes is not None and not known_to_be_done

    async def call(
        self, argument: object, context: StepContext, connection: PoolConnectionProxy | None = None
    ) -> Result:
        """Call the function with what its signature asks for. Raises what the function raises."""
        extra: tuple[object, ...] = (context,) if self.takes_context else ()
        if self.takes_connection:
            assert connection is not None, "only an inbox calls such a handler"
            extra += (connection,)
        return await self.function(argument, *extra)

    def argument(self, command: ReceivedCommand) -> object:
        """Return the function's first argument: the command's data as its model. Raises InvalidCommand."""
        if self.validator is None:
            return command.data
        data = command.data_json
        if self.forbids_outputs:
            data = orjson.dumps({name: value for name, value in command.data.items() if name != OUTPUTS_FIELD})
        try:
            # From JSON, not from the dict: bytes, dates and strict models then read as their author expects.
            return self.validator.validate_json(data)
        except ValidationError as error:
            raise InvalidCommand(_invalid_fields(error)) from None


def read_handler(command_type: str, function: HandlerFunction) -> Handler:
    """Read the function's signature. Raises WrongHandler."""
    name = _name(function)
    place = f"handler '{name}' of '{command_type}'"
    if not callable(function):
        raise WrongHandler(f"{place} is not a function; write: {_SIGNATURE.format(name='name')}")
    if not inspect.iscoroutinefunction(function):
        raise WrongHandler(f"{place} is not async; write: {_SIGNATURE.format(name=name)}")
    parameters, hints = _parameters(place, function), _hints(place, function)
    _check_result(place, hints)
    model = _model(place, parameters[0], hints)
    takes_context, takes_connection = _extra_parameters(place, parameters, hints)
    return Handler(
        command_type=command_type,
        function=function,
        validator=None if model is None else _validator(place, model),
        forbids_outputs=model is not None and _forbids_outputs(model),
        takes_context=takes_context,
        model=model,
        result=hints["return"],
        takes_connection=takes_connection,
    )


def _parameters(place: str, function: HandlerFunction) -> list[inspect.Parameter]:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in positional:
        raise WrongHandler(
            f"{place} takes no command; its first parameter is the command: {_SIGNATURE.format(name='name')}"
        )
    if len(parameters) > 1 and parameters[1].kind not in positional:
        raise WrongHandler(f"{place}: parameter '{parameters[1].name}' must be a plain one: context: StepContext")
    return parameters


def _hints(place: str, function: HandlerFunction) -> dict[str, Any]:
    try:
        return get_type_hints(getattr(function, "func", function))
    except NameError as error:
        raise WrongHandler(
            f"{place}: an annotation names something unknown ({error}); models belong at the top level of their "
            "module, and not under TYPE_CHECKING"
        ) from None


def _model(place: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> type[BaseModel] | None:
    given = hints.get(parameter.name)
    if given in _COMMAND_MAPPINGS:
        return None
    if isinstance(given, type) and issubclass(given, BaseModel):
        return given
    found = "has no annotation" if given is None else f"is annotated {_shown(given)}"
    raise WrongHandler(f"{place}: parameter '{parameter.name}' {found}; write a pydantic model, or dict[str, Any]")


def _validator(place: str, model: type[BaseModel]) -> SchemaValidator:
    try:
        model.model_rebuild()
        validator = TypeAdapter(model).validator
    except (PydanticUserError, NameError) as error:
        raise WrongHandler(f"{place}: the model {model.__name__} cannot be used: {_first_line(error)}") from None
    assert isinstance(validator, SchemaValidator), "a complete model has its validator"
    return validator


def _forbids_outputs(model: type[BaseModel]) -> bool:
    names = {field.alias or name for name, field in model.model_fields.items()} | model.model_fields.keys()
    return model.model_config.get("extra") == "forbid" and OUTPUTS_FIELD not in names


def _extra_parameters(place: str, parameters: list[inspect.Parameter], hints: dict[str, Any]) -> tuple[bool, bool]:
    """Find out if the function takes a context, and if it takes a connection."""
    takes_context = _takes_context(place, parameters, hints)
    rest = parameters[2 if takes_context else 1 :]
    takes_connection = bool(rest) and _is_connection(rest[0], hints)
    # A second parameter that is neither has a default of its own, or `_takes_context` would have refused it.
    for parameter in rest[1:] if takes_connection else rest:
        if parameter.default is inspect.Parameter.empty:
            raise WrongHandler(
                f"{place} must take the command, and may take a StepContext and an asyncpg.Connection, in this order; "
                f"'{parameter.name}' would get no value"
            )
    return takes_context, takes_connection


def _takes_context(place: str, parameters: list[inspect.Parameter], hints: dict[str, Any]) -> bool:
    if len(parameters) < 2 or _is_connection(parameters[1], hints):
        return False
    second = parameters[1]
    given = hints.get(second.name)
    if given is StepContext:
        return True
    if second.default is not inspect.Parameter.empty:
        return False
    found = "has no annotation" if given is None else f"is annotated {_shown(given)}"
    raise WrongHandler(f"{place}: parameter '{second.name}' {found}; the second parameter is a StepContext")


def _is_connection(parameter: inspect.Parameter, hints: dict[str, Any]) -> bool:
    plain = parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return plain and hints.get(parameter.name) in _connections()


def _connections() -> tuple[object, ...]:
    # An annotation that names one has imported it; other handlers need no Postgres client.
    asyncpg = sys.modules.get("asyncpg")
    return () if asyncpg is None else (asyncpg.Connection, asyncpg.pool.PoolConnectionProxy)


def _check_result(place: str, hints: dict[str, Any]) -> None:
    if "return" not in hints:
        raise WrongHandler(
            f"{place} does not say what it returns; write '-> YourResult' (a pydantic model, a mapping, or None)"
        )
    wrong = [option for option in options_of(hints["return"]) if not _is_result(option)]
    if wrong:
        raise WrongHandler(f"{place} returns {_shown(wrong[0])}; a result is a pydantic model, a mapping, or None")


def options_of(annotation: Any) -> tuple[Any, ...]:
    """The types of which the annotation allows one."""
    if get_origin(annotation) is Annotated:
        return options_of(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_result(annotation: Any) -> bool:
    if annotation in (type(None), Never, NoReturn) or is_typeddict(annotation):
        return True
    origin = get_origin(annotation) or annotation
    return isinstance(origin, type) and issubclass(origin, (BaseModel, Mapping))


def _invalid_fields(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    shown = [
        f"{'.'.join(map(str, detail['loc'])) or 'data'}: {detail['msg']}" for detail in details[:FIELD_ERRORS_SHOWN_MAX]
    ]
    left = len(details) - len(shown)
    return "; ".join(shown) + (f"; and {left} more" if left else "")


def _name(function: object) -> str:
    return str(getattr(function, "__qualname__", repr(function)))


def _shown(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
