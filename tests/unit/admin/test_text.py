"""What others wrote is shown on one line, steers no terminal, and can be pasted back into a shell."""

from __future__ import annotations

import os
import subprocess

import pytest

from saga_service.admin.text import harmless, harmless_lines, quoted, shell_word

KEYS = [
    "A-17",
    "order/2026:7,5@x%+=.y",
    "Größe-図",
    "two words",
    "it's",
    'say "no"',
    "$(rm -rf ~) `id` $HOME",
    "back\\slash \\n",
    "two\nlines\r\tand a tab",
    "zero\u200bwidth",
    "right to left \u202e",
    "red \x1b[31m",
    "no\xa0break",
    "a*b?[c]{d,e}!f#g;h&i|j>k",
    "'",
    "\u2028",
    "\U000e0001 tag",
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode → 図", "plain ünïcode → 図"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("two\nlines\tand a tab", "two\\nlines\\tand a tab"),
        ("right to left \u202e", "right to left \\u202e"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_line_breaks_of_a_message_stay_and_nothing_else_does() -> None:
    assert harmless_lines("one\n  two\x1b[2J") == "one\n  two\\x1b[2J"


@pytest.mark.parametrize("key", KEYS, ids=ascii)
@pytest.mark.parametrize("written", [shell_word, quoted], ids=["word", "quoted"])
def test_a_key_that_is_printed_can_be_pasted_into_a_shell(key: str, written: object) -> None:
    assert callable(written)
    word = written(key)

    read_back = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout

    assert read_back.decode() == key
    assert word.isprintable()


def test_an_argument_that_is_not_utf_8_can_be_pasted_as_the_octets_that_it_has() -> None:
    word = shell_word(os.fsdecode(b"A-\xff"))
    assert subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout == b"A-\xff"


def test_a_key_that_needs_no_quotes_has_none() -> None:
    assert [shell_word(key) for key in ("A-17", "Größe-図", "two words", "it's", "a\nb", "")] == [
        "A-17",
        "Größe-図",
        "'two words'",
        "$'it\\'s'",
        "$'a\\nb'",
        "",
    ]
