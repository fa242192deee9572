"""A worker's description has what is certain of its handlers: names, schemas, and what the inbox answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Never, NotRequired

import orjson
import pytest
from asyncpg import Connection
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, field_serializer, model_validator
from typing_extensions import TypedDict  # pydantic reads no other one before Python 3.12

from saga_service.wire.worker_description import HandlerDescription, UnreadableDescription, worker_description_from_json
from saga_service.worker import PostgresInbox, StepContext, Worker
from saga_service.worker.description import SCHEMA_BYTES_MAX, describe

NOWHERE = "postgresql://nowhere/none"


class Order(BaseModel):
    order_id: str
    amount: int = 3


class Receipt(BaseModel):
    receipt_id: str = Field(alias="receiptId")
    paid: bool = True


class Shelf(TypedDict):
    shelf: int
    row: NotRequired[int]


def described(function: Any, *, inbox: bool = False) -> HandlerDescription:
    worker = Worker("shop", inbox=PostgresInbox(NOWHERE) if inbox else None)
    worker.handler("shop.do")(function)
    [handler] = describe(worker).handlers
    return handler


def taken(model: type[BaseModel]) -> Any:
    async def handle(command: BaseModel) -> None: ...

    handle.__annotations__["command"] = model
    return described(handle).takes


def returned(annotation: Any) -> Any:
    async def handle(command: dict[str, Any]) -> None: ...

    handle.__annotations__["return"] = annotation
    return described(handle).returns


def test_a_worker_says_its_commands_what_they_take_and_what_they_return() -> None:
    worker = Worker("shop", inbox=PostgresInbox(NOWHERE))

    @worker.handler("shop.reserve")
    async def reserve(order: Order, context: StepContext, connection: Connection) -> Shelf:
        raise AssertionError

    @worker.handler("shop.release", undoes="shop.reserve")
    async def release(order: dict[str, Any]) -> None: ...

    worker.answer_probes("shop.find", of="shop.reserve")

    find, undo, do = describe(worker).handlers
    assert find == HandlerDescription("shop.find", undoes="shop.reserve", answers_probes=True)
    assert (undo.type, undo.takes, undo.undoes) == ("shop.release", None, "shop.reserve")
    assert do.takes is not None
    assert (do.type, do.is_transactional, do.takes["required"]) == ("shop.reserve", True, ["order_id"])
    assert do.returns is not None
    assert (do.returns["required"], set(do.returns["properties"])) == (["shelf"], {"shelf", "row"})


def test_a_description_goes_through_json_and_back() -> None:
    worker = Worker("shop")

    @worker.handler("shop.reserve")
    async def reserve(order: Order) -> Receipt:
        raise AssertionError

    written = orjson.dumps(describe(worker).to_json())
    assert worker_description_from_json(orjson.loads(written)) == describe(worker)


def test_a_field_of_a_later_release_does_not_matter() -> None:
    written = {"service": "shop", "colour": "red", "handlers": [{"type": "shop.do", "mood": "fine"}]}
    assert worker_description_from_json(written).handlers == (HandlerDescription("shop.do"),)


@pytest.mark.parametrize(
    "written",
    [{}, {"service": 1, "handlers": []}, {"service": "shop", "handlers": [{"type": "shop.do", "takes": "x"}]},
     {"service": "shop", "handlers": [{"type": "shop.do", "heartbeat_s": "10"}]},
     {"service": "shop", "handlers": 3}, {"service": "shop", "handlers": [[]]}],
)  # fmt: skip
def test_what_is_no_description_is_refused(written: Mapping[str, Any]) -> None:
    with pytest.raises(UnreadableDescription, match="cannot be read"):
        worker_description_from_json(written)


class Read(BaseModel):
    amount: Annotated[int, BeforeValidator(len)]


class Rewritten(BaseModel):
    amount: int

    @model_validator(mode="before")
    @classmethod
    def _rewritten(cls, data: Any) -> Any:
        return data


class Several(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: int = Field(validation_alias=AliasChoices("amount", "sum"))
    order_id: str


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    order_id: str = Field(alias="orderId")


class Anything:
    pass


class Opaque(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: Anything
    amount: int


def test_a_part_that_the_authors_own_validator_reads_may_be_anything() -> None:
    assert taken(Read)["properties"]["amount"] == {}
    assert taken(Read)["required"] == ["amount"]
    assert taken(Rewritten).keys() <= {"title"}
    assert taken(Opaque)["properties"]["thing"] == {}


def test_a_field_of_several_names_is_not_required_by_one_of_them() -> None:
    assert taken(Several)["required"] == ["order_id"]
    assert taken(Several)["additionalProperties"] is True
    assert taken(ByName)["required"] == []


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: str


def test_a_model_without_a_place_for_outputs_takes_commands_that_carry_them() -> None:
    assert set(taken(Closed)["properties"]) == {"order_id", "outputs"}


def test_a_model_that_is_returned_is_described_as_it_is_written() -> None:
    schema = returned(Receipt)
    assert sorted(schema["required"]) == ["paid", "receiptId"]


class OwnWords(BaseModel):
    amount: int
    price: int

    @field_serializer("amount")
    def _written(self, value: int):  # type: ignore[no-untyped-def]  # so nothing is known of what it returns
        return str(value)

    @field_serializer("price")
    def _as_text(self, value: int) -> str:
        return str(value)


def test_what_a_serializer_writes_is_known_by_its_annotation_alone() -> None:
    schema = returned(OwnWords)
    assert schema["properties"]["amount"] == {}
    assert schema["properties"]["price"]["type"] == "string"


@pytest.mark.parametrize("annotation", [Never, dict[str, Any], Mapping[str, int], Receipt | dict[str, Any]])
def test_nothing_is_said_of_a_result_whose_properties_have_no_names(annotation: Any) -> None:
    assert returned(annotation) is None


class NumbersAsText(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    order_id: str


def test_nothing_is_said_of_a_model_that_reads_numbers_as_text() -> None:
    assert taken(NumbersAsText) == {}


def test_a_models_result_has_its_fields_and_no_others() -> None:
    assert returned(Receipt)["additionalProperties"] is False


def test_a_result_of_several_kinds_is_one_of_them() -> None:
    shelf, nothing = returned(Shelf | None)["anyOf"]
    assert (shelf["required"], nothing["properties"]) == (["shelf"], {})


class Wide(BaseModel):
    letters: Annotated[str, Field(description="x" * SCHEMA_BYTES_MAX)]


def test_a_schema_that_is_too_large_to_publish_is_left_out() -> None:
    assert taken(Wide) is None
