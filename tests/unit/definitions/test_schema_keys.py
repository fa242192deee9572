"""The key as the schema of the input describes it: its form, and that the schema leaves it as it was sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from saga_service.definitions import DefinitionErrors, Saga, Step, check_saga
from saga_service.definitions.document import saga_spec_from_document
from saga_service.definitions.schema.keys import key_form
from saga_service.wire.business_keys import KeyForm
from saga_service.wire.saga_spec import InvalidInput

STEPS = [Step("reserve", action="stock.reserve")]
ID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


def schema_of(**described: Any) -> dict[str, Any]:
    return {"type": "object", "properties": described}


@pytest.mark.parametrize(
    ("described", "form"),
    [
        ({"type": "string"}, KeyForm.TEXT),
        ({"type": "string", "format": "uuid"}, KeyForm.UUID),
        ({"type": "integer"}, KeyForm.INTEGER),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, KeyForm.INTEGER),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}, KeyForm.UUID),
        ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string"}]}, KeyForm.TEXT),
        ({"type": ["integer", "string"]}, KeyForm.TEXT),
        ({}, KeyForm.TEXT),
    ],
)
def test_the_form_of_a_key_follows_from_its_schema(described: dict[str, Any], form: KeyForm) -> None:
    assert key_form(schema_of(order_id=described), "order_id") is form


class ById(BaseModel):
    order_id: UUID


class ByNumber(BaseModel):
    order_id: int = 17


def read_key(saga: Saga, data: dict[str, Any]) -> str | None:
    """The key by the definition as it is deployed, and by the one that another replica has stored."""
    deployed = check_saga(saga)
    stored = saga_spec_from_document(deployed.document)
    keys = {spec.business_key(data, spec.read_input(data)) for spec in (deployed, stored)}
    assert len(keys) == 1
    return keys.pop()


@pytest.mark.parametrize(
    ("model", "data", "key"),
    [
        (ById, {"order_id": ID.upper()}, ID),
        (ById, {"order_id": ID.replace("-", "")}, ID),
        (ByNumber, {"order_id": 5.0}, "5"),
        (ByNumber, {}, "17"),
    ],
)
def test_a_key_is_read_in_its_form(model: type[BaseModel], data: dict[str, Any], key: str) -> None:
    assert read_key(Saga("order", key="order_id", input=model, steps=STEPS), data) == key


def test_a_default_is_the_key_in_the_document_as_well() -> None:
    assert check_saga(Saga("order", key="order_id", input=ByNumber, steps=STEPS)).document["key_default"] == "17"


class Lower(BaseModel):
    order_id: Annotated[str, StringConstraints(to_lower=True)]


class Prefixed(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    order_id: str

    @field_validator("order_id")
    @classmethod
    def _with_prefix(cls, value: str) -> str:
        return f"shop-{value}"


@pytest.mark.parametrize("model", [Lower, Prefixed])
def test_a_schema_that_alters_its_key_is_a_problem_of_the_definition(model: type[BaseModel]) -> None:
    with pytest.raises(DefinitionErrors, match=r"key: is 'order_id', whose schema makes '(key|shop-Key)-1' of 'Key-1'"):
        check_saga(Saga("order", key="order_id", input=model, steps=STEPS))


class Stripped(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)

    order_id: str


class Priced(BaseModel):
    order_id: Decimal


class FromMinutes(BaseModel):
    order_id: Annotated[int, BeforeValidator(lambda value: value * 60 if isinstance(value, int) else value)]


@pytest.mark.parametrize(
    ("model", "sent", "told"),
    [
        (Stripped, " A-1 ", "makes 'A-1' of ' A-1 '; send 'A-1'"),
        (Priced, 5.0, "makes '5.0' of 5.0; send '5.0'"),
        (FromMinutes, 2, "makes '120' of 2; send '120'"),
    ],
)
def test_a_start_whose_key_the_schema_alters_is_refused(model: type[BaseModel], sent: object, told: str) -> None:
    spec = check_saga(Saga("order", key="order_id", input=model, steps=STEPS))
    data = {"order_id": sent}
    with pytest.raises(InvalidInput) as refused:
        spec.business_key(data, spec.read_input(data))
    assert told in str(refused.value)
    assert refused.value.without_values.startswith("order_id; ")


class Renamed(BaseModel):
    order_id: str = Field(validation_alias="orderId")


def test_a_key_that_is_sent_under_another_name_is_the_one_that_was_read() -> None:
    """By SQL, where the schema is not read, such a start needs its key beside the input."""
    spec = check_saga(Saga("order", key="order_id", input=Renamed, steps=STEPS))
    assert spec.business_key({"orderId": "A-1"}, spec.read_input({"orderId": "A-1"})) == "A-1"
