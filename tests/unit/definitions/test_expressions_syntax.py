"""Errors of syntax in expressions, in words for authors."""

from __future__ import annotations

import pytest

from saga_service.definitions.expressions.cel import InvalidExpression, compile_expression

TOLD = {
    "input.amount >": "ends too early: something is missing after '>'",
    "input.a && ": "ends too early: something is missing after '&&'",
    "input.a\n >": "ends too early: something is missing after '>'",
    "input.amount = 3": "column 14: '=' is not CEL; write '==' to compare",
    "input.a === 2": "column 9: '===' is not CEL; write '=='",
    "input.a <> 2": "column 9: '<>' is not CEL; write '!='",
    "input.a and input.b": "column 9: 'and' is not CEL; write '&&'",
    "input.a or input.b": "column 9: 'or' is not CEL; write '||'",
    "not input.a": "column 1: 'not' is not CEL; write '!'",
    "input.a not in [1]": "column 9: 'not in' is not CEL; write '!(a in b)'",
    "input.a is None": "column 9: 'is' is not CEL; write '=='",
    "input.a is not null": "column 9: 'is not' is not CEL; write '!='",
    "if input.a": "column 1: 'if' is not CEL; write 'condition ? value : other value'",
    "input?.a": "column 6: '?.' is not CEL; ask has(...) first",
    "${input.a}": "column 1: '${' is not CEL; an expression is written without braces",
    "{{ input.a }}": "column 1: '{{' is not CEL; an expression is written without braces",
    "x => y": "column 3: '=>' is not CEL; CEL has no functions of your own",
    "`a`": "column 1: '`' is not CEL; leave it out",
    "'and' == 'x' or true": "column 14: 'or' is not CEL",
    "(input.a": "column 1: '(' is not closed",
    "size([1, 2)": "column 11: ')' closes nothing that is open",
    "input.a)": "column 8: ')' closes nothing that is open",
    "{'a': 1": "column 1: '{' is not closed",
    "'abc": "column 1: the text that begins here is not closed",
    "input.a ? 1": "column 9: '?' has no ':'; write 'condition ? value : other value'",
    "a b": "column 3: 'b' follows 'a' with no operator between them",
    "true &&\n* 2": "line 2, column 1: '*' cannot stand here after '&&'",
    "1, 2": "column 2: ',' cannot stand here after '1'",
    "input..a": "column 7: '.' cannot stand here after '.'",
}


@pytest.mark.parametrize(("text", "told"), TOLD.items(), ids=TOLD)
def test_an_error_says_what_is_wrong_where_and_what_to_write(text: str, told: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        compile_expression(text)
    assert str(raised.value).startswith(told)
