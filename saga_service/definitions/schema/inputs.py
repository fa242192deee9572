"""Readers of a saga's input: a producer's data, validated and completed, as it is stored and sent to the workers.

An input is read for every saga that starts, so all that can be prepared is prepared when the definition is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol, get_args

import orjson
from jsonschema_rs import ValidationError, ValidationErrorKind
from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic import ValidationError as ModelError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from saga_service.core.state import JsonObject
from saga_service.definitions.problems import Path, path_text, shown
from saga_service.definitions.schema.coercion import Coercion, coercions
from saga_service.definitions.schema.json_schema import comparable, is_closed, properties_of, validator_of
from saga_service.definitions.schema.numbers import declared_numbers, misreading
from saga_service.wire.commands import OUTPUTS_FIELD
from saga_service.wire.entries import Malformed
from saga_service.wire.json import NESTING_MAX, is_finite, read_object
from saga_service.wire.saga_spec import InvalidInput

PROBLEMS_SHOWN_MAX = 10
_TEXT_CHARACTERS_MAX = 200


class Input(Protocol):
    """Reads the inputs of one saga, by the description that its author gave."""

    @property
    def schema(self) -> JsonObject:
        """The JSON Schema of what a producer sends, in a form that can be compared."""
        ...

    @property
    def stored_schema(self) -> JsonObject:
        """The JSON Schema of the stored input, which is what expressions see."""
        ...

    @property
    def stored(self) -> Mapping[str, Any]:
        """The schemas of the properties that a stored input may have, by name."""
        ...

    @property
    def keeps_more(self) -> bool:
        """True if a stored input may have properties that the schema does not name."""
        ...

    def takes(self, name: str) -> bool:
        """True if an input may come with this property."""
        ...

    def read_property(self, name: str, value: Any) -> Any:
        """The value of one property as it is stored; the value itself where it cannot be read by itself."""
        ...

    def read_input(self, data: JsonObject) -> JsonObject:
        """The input as it is stored. Raises InvalidInput."""
        ...

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        """The input as it is stored, read from flat text fields. Raises InvalidInput."""
        ...


class SchemaInput:
    """An input that a JSON Schema describes. Properties that it does not name are kept."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = comparable(schema)
        self._validator = validator_of(schema)
        self._coercions = coercions(schema)
        self._numbers = declared_numbers(schema)
        self._defaults = {
            name: inner["default"]
            for name, inner in schema.get("properties", {}).items()
            if isinstance(inner, Mapping) and "default" in inner
        }
        # A property with a default is always there, for the default is filled in.
        self.stored_schema = {**self.schema, "required": sorted({*self.schema.get("required", ()), *self._defaults})}
        self.stored = properties_of(self.stored_schema)

    @property
    def keeps_more(self) -> bool:
        return not is_closed(self.schema, self.schema)

    def takes(self, name: str) -> bool:
        return name in self.stored or self.keeps_more

    def read_property(self, name: str, value: Any) -> Any:
        return _coerced(self._coercions[name].from_json, name, value) if name in self._coercions else value

    def read_input(self, data: JsonObject) -> JsonObject:
        value = {**self._defaults, **data}
        for name, coercion in self._coercions.items():
            if name in value:
                value[name] = _coerced(coercion.from_json, name, value[name])
        value = dict(self._numbers.read(value))
        if not self._validator.is_valid(value):
            errors = list(self._validator.iter_errors(value))
            raise InvalidInput(_joined(map(_schema_text, errors)), _declared(map(_schema_path, errors), self.stored))
        return _storable(value)

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        return self.read_input(_from_text(fields, self._coercions))

    def misfit_defaults(self) -> Iterable[tuple[Path, str]]:
        """The defaults that do not fit their own properties: the path of each, and why."""
        for error in self._validator.iter_errors(self._defaults):
            if error.instance_path:
                yield ("properties", str(error.instance_path[0]), "default"), _shortened(error.message)


class _AsStored(GenerateJsonSchema):
    """The schema of a model's JSON, which has all fields, those with a default too."""

    def field_is_required(self, *_: Any, **__: Any) -> bool:
        return True


class ModelInput:
    """An input that a pydantic model describes. The model validates it, and its JSON is what is stored."""

    def __init__(self, model: type[BaseModel]) -> None:
        described = model.model_json_schema()
        self.schema = comparable(described)
        self.stored_schema = comparable(model.model_json_schema(mode="serialization", schema_generator=_AsStored))
        self.stored = properties_of(self.stored_schema)
        self._model = model
        self._coercions = coercions(described)
        self._numbers = declared_numbers(described)
        self._number_names = _names_of_type(model, {int, float, Decimal})
        self._double_names = self._number_names - _names_of_type(model, {int, Decimal})

    @property
    def keeps_more(self) -> bool:
        # A model that says itself how it is written may have other names than those of its fields.
        return self._model.model_config.get("extra") == "allow" or not self.stored

    def takes(self, name: str) -> bool:
        is_closed = self._model.model_config.get("extra") == "forbid"
        # What a model's own validator does to the data before the names count cannot be known.
        validators = self._model.__pydantic_decorators__.model_validators.values()
        rewrites = any(validator.info.mode != "after" for validator in validators)
        return not is_closed or rewrites or name in set(_names_taken(self._model))

    def read_property(self, name: str, value: Any) -> Any:
        model = self._model
        for field, described in model.model_fields.items():
            if name == (described.serialization_alias or field):
                try:
                    made = model.model_construct()
                    model.__pydantic_validator__.validate_assignment(made, field, value)
                    return made.model_dump(mode="json", by_alias=True, include={field}, warnings=False)[name]
                except Exception:  # noqa: BLE001 - an author's own validator may raise anything where it sees one field
                    return value
        return value

    def read_input(self, data: JsonObject) -> JsonObject:
        model = self._model
        misread = self._misread_number(data)
        if misread is not None:
            path, reason = misread
            raise InvalidInput(f"{path_text(path)}: {reason}", _declared([path], self.stored))
        try:
            value = model.__pydantic_validator__.validate_python(data)
            return _storable(model.__pydantic_serializer__.to_python(value, mode="json", by_alias=True))
        except ModelError as error:
            all_details = error.errors(include_url=False, include_context=False)
            at_fault = _declared((details["loc"] for details in all_details), self.stored)
            raise InvalidInput(_joined(map(_model_text, all_details)), at_fault) from None
        except InvalidInput:
            raise
        except Exception as error:
            # An author's own validator may raise anything. That refuses one entry, and must not end the service.
            raise InvalidInput(f"the model {model.__name__} failed: {type(error).__name__}: {error}") from error

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        return self.read_input(_from_text(fields, self._coercions))

    def _misread_number(self, data: JsonObject) -> tuple[Path, str] | None:
        # By the model's own types first: its schema has no types of fields that are sent under a second name, and a
        # Decimal is any text to it.
        for name in self._number_names & data.keys():
            reason = misreading(data[name], is_double=name in self._double_names)
            if reason is not None:
                return (name,), reason
        return self._numbers.misread(data)


def _names_taken(model: type[BaseModel]) -> Iterator[str]:
    """Every name under which a field of the model may be sent."""
    for name, described in model.model_fields.items():
        yield from _names_of(name, described)


def _names_of(name: str, described: FieldInfo) -> Iterator[str]:
    yield name
    alias = described.validation_alias
    for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if choice is not None:
            yield str(choice.path[0]) if isinstance(choice, AliasPath) else choice


def at_fault(reader: Input, data: JsonObject) -> Sequence[str]:
    """The properties, of those that the schema names, for which this input is refused."""
    try:
        reader.read_input(data)
    except InvalidInput as error:
        return error.fields
    return ()


def _from_text(fields: Mapping[str, str], by_name: Mapping[str, Coercion]) -> dict[str, Any]:
    return {
        name: _coerced(by_name[name].from_text, name, text) if name in by_name else text
        for name, text in fields.items()
    }


def _coerced(coerce: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    try:
        return coerce(name, value)
    except Malformed as error:
        what_is_wrong = str(error).removeprefix(f"field '{name}' ")
        raise InvalidInput(f"{name}: {what_is_wrong}", [name]) from None


def _names_of_type(model: type[BaseModel], types: set[Any]) -> set[str]:
    """Every name of a field that may be of one of these types, and not any text."""
    return {
        name
        for field_name, described in model.model_fields.items()
        if types.intersection(allowed := _alternatives(described.annotation)) and str not in allowed
        for name in _names_of(field_name, described)
    }


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) or (annotation,)


def _storable(value: dict[str, Any]) -> JsonObject:
    """The value itself. Raises InvalidInput where it cannot be stored and sent as JSON.

    A producer's JSON was checked when it came in, but not what was made of it since: a flat field may hold JSON of its
    own, and a model may make anything of a text.
    """
    if OUTPUTS_FIELD in value:
        raise InvalidInput(f"{OUTPUTS_FIELD}: is reserved for the results of earlier steps; send it under another name")
    try:
        encoded = orjson.dumps(value)
        if _is_suspicious(encoded):
            read_object(encoded, "input")
    except (orjson.JSONEncodeError, Malformed) as error:
        raise InvalidInput(f"cannot be stored as JSON: {error}") from None
    if b"null" in encoded and not is_finite(value):
        raise InvalidInput("cannot be stored as JSON: a number is not finite")
    return value


def _is_suspicious(encoded: bytes) -> bool:
    """True if the value may be nested too deeply or hold a NUL. Counting is cheap, and clears nearly every input."""
    return encoded.count(b"[") + encoded.count(b"{") > NESTING_MAX or b"\\u0000" in encoded


def _schema_text(error: ValidationError) -> str:
    path = _schema_path(error)
    if isinstance(error.kind, ValidationErrorKind.Required):
        return f"{path_text(path)}: is missing"
    return _at(path, error.message)


def _schema_path(error: ValidationError) -> Path:
    path: Path = tuple(error.instance_path)
    return (*path, error.kind.property) if isinstance(error.kind, ValidationErrorKind.Required) else path


def _declared(paths: Iterable[Path], names: Iterable[str]) -> list[str]:
    """The fields at fault that the schema names. Any other name may be part of the data, which is not to be shown."""
    at_fault = {path[0] for path in paths if path}
    return [name for name in names if name in at_fault]


def _model_text(details: Mapping[str, Any]) -> str:
    if details["type"] == "missing":
        return f"{path_text(details['loc'])}: is missing"
    text = details["msg"].replace("Input should", "should")
    return _at(details["loc"], f"{text}, but is {shown(details['input'])}")


def _at(path: Path, text: str) -> str:
    return f"{path_text(path)}: {_shortened(text)}" if path else _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS_MAX else f"{text[:_TEXT_CHARACTERS_MAX]}…"


def _joined(texts: Iterable[str]) -> str:
    all_texts = list(texts)
    more = len(all_texts) - PROBLEMS_SHOWN_MAX
    shown_texts = "; ".join(all_texts[:PROBLEMS_SHOWN_MAX])
    return f"{shown_texts}; and {more} more" if more > 0 else shown_texts
