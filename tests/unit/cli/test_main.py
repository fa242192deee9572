"""The command line without any server: help, wrong use, wrong settings, servers that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from saga_service.settings import settings_reference
from tests.support.command_line import run

VERBS = ["retry", "skip", "resolve", "cancel", "compensate", "pause", "resume"]
COMMANDS = [
    "check",
    "run",
    "worker",
    "migrate",
    "start",
    "list",
    "show",
    "plan",
    "signal",
    *VERBS,
    "dead-letters",
    "definitions",
    "archive",
    "settings",
    "processes",
    "doctor",
    "health",
]

NO_POSTGRES = "postgresql://somebody:hush@127.0.0.1:1/saga"
NO_REDIS = "redis://:hush@127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", NO_POSTGRES)
    monkeypatch.setenv("SAGA_REDIS_URL", NO_REDIS)


# ------------------------------------------------------------------------------------------------------------- help


def test_help_names_every_command_and_every_exit_code() -> None:
    shown = run("--help")

    assert shown.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in shown.out
    assert "Exit codes: 0 fine" in shown.out


@pytest.mark.parametrize(
    "command",
    [
        *([command] for command in COMMANDS if command not in ("dead-letters", "definitions")),
        *(["dead-letters", command] for command in ("list", "show", "replay", "drop")),
        *(["definitions", command] for command in ("check", "list", "graph")),
    ],
    ids=" ".join,
)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    shown = run(*command, "--help")

    assert shown.exit_code == 0
    assert "Example: " in shown.out
    assert f"saga-service {' '.join(command)}" in " ".join(shown.out.split("Example: ")[1].split())


def test_the_short_word_for_help_helps_everywhere() -> None:
    assert run("-h").out == run("--help").out
    assert run("dead-letters", "list", "-h").out == run("dead-letters", "list", "--help").out


def test_the_version_is_told() -> None:
    assert run("--version").out == f"{version('saga-service')}\n"


def test_help_imports_nothing_heavy() -> None:
    # In a process of its own: this one has imported everything.
    program = "import sys, saga_service.cli.main; print(*sorted(name.partition('.')[0] for name in sys.modules))"

    imported = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()

    assert "typer" in imported
    heavy = {
        "asyncio",
        "asyncpg",
        "redis",
        "pydantic",
        "structlog",
        "orjson",
        "uvloop",
        "rich",
    }
    assert heavy.intersection(imported) == set()


# -------------------------------------------------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["show"], "Missing argument"),
        (["list", "--status", "nonsense"], "'nonsense' is not one of"),
        (["list", "--limit", "0"], "Invalid value for '--limit'"),
        (["start", "order", "--data", "{", "-f", "a=1"], "give the input by --data or by --field, not by both"),
        (["start", "order", "--data", "{"], "--data is not valid JSON"),
        (["signal", "approved", "A-17", "--data", "[]"], "--data must be a JSON object, but is an array"),
        (["signal", "approved", "A-17", "-f", "by"], "--field must be NAME=VALUE"),
        (["resolve", "A-17"], "Missing option '--as'"),
        (["resolve", "A-17", "--as", "failed", "--output", "{}"], "--output goes with --as succeeded"),
        (["resolve", "A-17", "--as", "succeeded", "--output", "5"], "--output must be a JSON object"),
        (["cancel", "A-17", "--step", "charge"], "No such option"),
        (["cancel"], "no saga is named: give its id or key, or filter by"),
        (["cancel", "--limit", "5"], "no saga is named: give its id or key, or filter by"),
        (["retry", "A-17", "--status", "stuck", "--older-than", "2h"], "or filter (--status, --older-than); not both"),
        (["retry", "--older-than", "2 weeks"], "--older-than must be a duration, but is '2 weeks'"),
        (["start", "order", "--data", "[1]"], "--data must be a JSON object, but is an array"),
        (["start", "order", "-f", "amount"], "--field must be NAME=VALUE, but is 'amount'"),
        (
            ["start", "order", "--stream", "orders", "--key", "k", "-f", "a=1"],
            "--key and --id belong to the common stream",
        ),
        (["start", "order", "--stream", "orders"], "an entry of that stream needs a field"),
        (["start", "order", "--stream", "saga:replies", "-f", "a=1"], "is a stream of the service itself"),
        (["list", "--newer-than", "soon"], "--newer-than must be a duration, but is 'soon'"),
        (["dead-letters", "drop"], "no dead letter is named; give its number, or filter by --stream"),
        (["dead-letters", "replay", "--limit", "5"], "no dead letter is named"),
        (["dead-letters", "drop", "17", "--stream", "a"], "give numbers, or filters and their options; not both"),
        (["dead-letters", "drop", "17", "--dry-run"], "give numbers, or filters and their options; not both"),
        (["archive", "--before", "soon"], "--before must be an age such as 90d or a date such as 2026-01-31"),
        (["archive", "--before", "90"], "--before must be an age such as 90d or a date such as 2026-01-31"),
        (["archive", "--json"], "--json needs --output"),
        (["archive", "--before", "90d", "--remove"], "--remove needs --output"),
        (["archive", "--output", "sagas.jsonl", "--remove"], "--remove needs --before of a day or more"),
        (["archive", "--before", "23h", "--output", "a.jsonl", "--remove"], "--remove needs --before of a day or more"),
        (["archive", "--output", "sagas.csv"], "--output must end in .jsonl, .jsonl.gz, .parquet, but is 'sagas.csv'"),
        (["worker", "shop"], "MODULE:WORKER"),
        (["list", "--status", "finished"], "'--status': 'finished' is not one of 'running'"),
        (["worker", "no_such_shop.workers:payment"], "no module 'no_such_shop'"),
        (["definitions", "check"], "no definitions are given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_told_in_words(no_servers: None, arguments: list[str], said: str) -> None:
    ran = run(*arguments)

    assert ran.exit_code == 2
    assert said in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err


NOT_UTF_8 = b"A-\xff".decode(errors="surrogateescape")


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", NOT_UTF_8],
        ["cancel", "--reason", NOT_UTF_8, "A-17"],
        ["start", "order", "-f", f"note={NOT_UTF_8}"],
        ["dead-letters", "list", "--stream", NOT_UTF_8],
        [NOT_UTF_8],
    ],
)
def test_an_argument_that_is_not_utf_8_is_told_in_one_line(no_servers: None, arguments: list[str]) -> None:
    ran = run(*arguments)

    assert (ran.exit_code, ran.out) == (2, "")
    [line] = ran.err.splitlines()
    assert line.startswith("saga-service: the argument $'")
    assert "A-\\xff' is not UTF-8; check the encoding of the terminal" in line


def test_data_from_standard_input_that_is_not_utf_8_is_told(no_servers: None) -> None:
    ran = run("start", "order", "--data", "-", stdin=b'{"note": "\xff"}')

    assert ran.exit_code == 2
    assert ran.err.startswith("saga-service: --data is not valid JSON")


def test_an_error_that_quotes_a_text_steers_no_terminal(order: Path) -> None:
    ran = run("definitions", "graph", "--saga", "\x1b[2Jordre\n")

    assert "\x1b" not in ran.err
    assert "there is no saga $'\\x1b[2Jordre\\n'" in ran.err


def test_a_terminal_of_another_encoding_shows_letters_that_it_lacks_in_escaped_form(order: Path) -> None:
    program = "from saga_service.cli.main import main; main()"

    ran = subprocess.run(
        [sys.executable, "-c", program, "definitions", "list"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )

    assert b"reserve \\u2192 quote" in ran.stdout


def test_all_wrong_settings_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_LANES", "many")
    monkeypatch.setenv("SAGA_LANE", "2")

    ran = run("list")

    assert ran.exit_code == 2
    assert ran.err.splitlines() == [
        "saga-service: the settings are wrong:",
        "  SAGA_LANE (from the environment) is not a setting; did you mean SAGA_LANES?",
        "  SAGA_LANES (from the environment): must be a valid integer, unable to parse string as an integer, "
        "but is 'many'",
    ]


def test_the_service_does_not_run_without_definitions(no_servers: None) -> None:
    ran = run("run")

    assert ran.exit_code == 2
    assert "set SAGA_DEFINITIONS" in ran.err.splitlines()[-1]


# ------------------------------------------------------------------------------------------- servers that are not there


@pytest.mark.parametrize(
    ("arguments", "server"),
    [
        (["list"], "Postgres"),
        (["show", "A-17"], "Postgres"),
        (["plan", "A-17"], "Postgres"),
        (["signal", "approved", "A-17"], "Postgres"),
        (["cancel", "A-17"], "Postgres"),
        (["retry", "--status", "stuck", "--yes"], "Postgres"),
        (["dead-letters", "list"], "Postgres"),
        (["dead-letters", "show", "1"], "Postgres"),
        (["dead-letters", "replay", "1"], "Postgres"),
        (["dead-letters", "drop", "1"], "Postgres"),
        (["archive"], "Postgres"),
        (["archive", "--before", "30d", "--output", "sagas.jsonl", "--remove"], "Postgres"),
        (["migrate"], "Postgres"),
        (["start", "order", "--key", "A-17"], "Redis"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_server_that_is_not_there_is_told_in_one_line(no_servers: None, arguments: list[str], server: str) -> None:
    ran = run(*arguments)

    assert ran.exit_code == 3
    assert ran.out == ""
    line = ran.err.splitlines()[-1]
    assert f"{server} at " in line
    assert "127.0.0.1:1" in line
    assert "SAGA_" in line, "what to check is named"
    assert "hush" not in ran.err
    assert "Traceback" not in ran.err


def test_the_doctor_tells_of_both_servers_that_are_not_there(no_servers: None) -> None:
    ran = run("doctor", "--json")

    assert ran.exit_code == 1
    assert [(finding["check"], finding["verdict"]) for finding in ran.json] == [
        ("postgres", "problem"),
        ("redis", "problem"),
    ]
    assert all(finding["advice"].startswith("check SAGA_") for finding in ran.json)
    assert "hush" not in ran.out


# --------------------------------------------------------------------------------------------------------- settings


def test_settings_are_shown_with_their_origin_and_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGA_POSTGRES_DSN", NO_POSTGRES)

    table, shown = run("settings"), run("settings", "--json")

    assert "SAGA_POSTGRES_DSN" in table.out
    assert "hush" not in table.out + shown.out
    by_name = {setting["variable"]: setting for setting in shown.json}
    assert by_name["SAGA_POSTGRES_DSN"] == {
        "variable": "SAGA_POSTGRES_DSN",
        "value": "postgresql://somebody:***@127.0.0.1:1/saga",
        "origin": "environment",
    }
    assert by_name["SAGA_LANES"]["origin"] == "default"


def test_the_reference_is_printed_as_it_stands_in_the_documentation() -> None:
    assert run("settings", "--reference").out == settings_reference()


# ------------------------------------------------------------------------------------------------------ definitions

ORDER = """
name: order
input:
  type: object
  properties: {order_id: {type: string}, amount: {type: integer}}
  required: [order_id]
key: order_id
triggers: [{stream: order_requests, group: shop}]
steps:
  - {name: reserve, action: inventory.reserve, compensation: inventory.release}
  - {name: quote, action: shipping.quote}
  - {name: charge, action: payment.charge, compensation: payment.refund}
"""


@pytest.fixture
def order(working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one saga, which SAGA_DEFINITIONS names."""
    path = working_directory / "order.yaml"
    path.write_text(ORDER)
    monkeypatch.setenv("SAGA_DEFINITIONS", "order.yaml")
    return path


def test_right_definitions_are_found_right(order: Path) -> None:
    assert run("definitions", "check").exit_code == 0
    assert run("definitions", "check", "--json").json == {"sagas": ["order"], "problems": []}


def test_a_right_definition_is_one_line_with_the_number_of_its_steps(order: Path) -> None:
    order.write_text(f"{ORDER}---\nname: alone\nsteps: [{{name: one, action: shop.pack}}]\n")
    assert run("definitions", "check").out.splitlines() == [
        "order: right, 3 steps (order.yaml:2)",
        "alone: right, 1 step (order.yaml:14)",
    ]


def test_wrong_definitions_are_told_with_place_and_remedy(order: Path) -> None:
    order.write_text(ORDER.replace("payment.charge", "charge").replace("key: order_id", "key: number"))

    told, shown = run("definitions", "check"), run("definitions", "check", "order.yaml", "--json")

    assert told.exit_code == shown.exit_code == 1
    assert told.err.startswith("saga-service: 2 problems in the saga definitions:\n")
    assert "order.yaml:7: key: " in told.err
    assert [problem["path"] for problem in shown.json["problems"]] == ["key", "steps[2].action"]


def test_definitions_are_listed_with_what_starts_them_and_who_is_needed(order: Path) -> None:
    [saga] = run("definitions", "list", "--json").json

    assert (saga["saga"], saga["key"], saga["services"]) == ("order", "order_id", ["inventory", "payment", "shipping"])
    assert saga["event_types"] == ["order"]
    assert saga["streams"] == [{"stream": "order_requests", "group": "shop"}]
    assert [step["step"] for step in saga["steps"]] == ["reserve", "quote", "charge"]
    assert "reserve → quote → charge" in run("definitions", "list").out


def test_a_graph_shows_every_step_and_where_each_failure_leads(order: Path) -> None:
    drawn = run("definitions", "graph", "--saga", "order")

    assert drawn.exit_code == 0
    assert drawn.lines[0] == "flowchart LR"
    assert any("reserve" in line and "inventory.release" not in line for line in drawn.lines)
    assert any("inventory.release" in line for line in drawn.lines)
    assert not any("allocate_resources" in line for line in drawn.lines)


def test_a_graph_of_an_unknown_saga_names_the_known_ones(order: Path) -> None:
    drawn = run("definitions", "graph", "--saga", "ordre")

    assert (drawn.exit_code, drawn.err) == (1, "saga-service: there is no saga 'ordre'; there are: order\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["order", "-f", "order_id=A-1", "-f", "amount=much"], 'amount: "much" is not of type "integer"'),
        (["order", "--data", "{}"], "order_id: is missing"),
        (["ordre", "--data", "{}"], "did you mean 'order'?"),
        (["order", "--stream", "somewhere", "-f", "order_id=A-1"], "no saga is triggered by the stream 'somewhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_would_be_a_dead_letter_is_refused_before_it_is_sent(
    order: Path, no_servers: None, arguments: list[str], said: str
) -> None:
    ran = run("start", *arguments)

    assert ran.exit_code == 2
    assert ran.err.startswith("saga-service: nothing was started: ")
    assert said in ran.err


SLOW_TO_IMPORT = ("saga_service.definitions", "saga_service.streams", "redis", "structlog", "jsonschema_rs", "yaml")


@pytest.mark.parametrize("command", ["dead_letters", "jobs", "list", "operate", "show"])
def test_a_command_that_only_asks_postgres_imports_nothing_that_is_slow(command: str) -> None:
    program = f"import sys, saga_service.cli.commands.{command}; print(*sys.modules)"

    imported = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert [name for name in imported.split() if name.startswith(SLOW_TO_IMPORT)] == []
