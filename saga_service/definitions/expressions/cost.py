"""The cost of an expression, bounded before it is evaluated.

The library that evaluates CEL has no limit of steps or of time, and cannot be interrupted. It runs on the event loop,
and a producer decides how long the lists are that an expression goes through. So the work is counted first, from the
expression's parts and the sizes of the values that it refers to, and an expression that may do too much fails.

The unit is a value handled: copied, compared, or found by a round of a macro; it takes from 0.03 to 0.2 µs. The library
copies what it selects, each entry that a macro binds, and in each round of `map` and `filter` the whole list that it
has made so far. So these two cost the square of the number of entries, and a macro within a macro costs the product.

The count is an upper bound. A condition is taken to be true wherever that costs more, and of a value that is not known
here, such as a list made by `map`, the largest possible size counts.

Only expressions with macros are counted: any other handles each value that it names at most once for each operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from saga_service.core.definition import ExpressionFailed
from saga_service.definitions.expressions.parser import MACROS, Form, Node, tokens_of, tree_of
from saga_service.definitions.problems import shown

EVALUATION_VALUES_MAX = 2_000_000
"""Values that the evaluation of one condition, or of one mapping, may handle. They take a fraction of a second."""

PARTS_DEEP_MAX = 150
"""Parts within one another, as the sums in `1 + 1 + 1` are. Each takes three frames of Python's stack."""

_TEXT_CHARACTERS = 1_000
"""Characters of a text that cost as much as one value more."""
_PATTERN_VALUES = 3_000
"""The library compiles a pattern anew each time that `matches` is called."""
_PATTERN_TEXT_VALUES = 100
_ROUND_VALUES = 3

_Scope = Mapping[str, "_Extent"]

# Looked up once: an enum's own look-up runs Python code each time, until Python 3.12.
_NAME, _CONSTANT, _SELECT = Form.NAME, Form.CONSTANT, Form.SELECT
_MACRO, _CALL, _UNREAD = Form.MACRO, Form.CALL, Form.UNREAD


class TooMuchWork(ExpressionFailed):
    """The expression may handle more values than an evaluation is allowed to."""


class _Extent(NamedTuple):
    """The extent of a part's values, over all rounds of the macro around it."""

    values: Sequence[Any] | None
    """The values themselves, where they are known."""
    size: int
    """The largest value's size: how many values it holds, itself among them."""
    entries: int
    """The longest list's length."""
    size_total: int
    """The sum of the sizes over all rounds."""
    entries_total: int
    is_each: bool = False
    """True if `values` has one value for each round, so that the totals are sums over them."""
    entry: _Extent | None = None
    """The extent of an entry, where the values are lists that are not known, and it is."""


def tree_to_count(text: str) -> Node:
    """The parts of the expression; one unread part where they lie too deep within one another to be walked."""
    tree = tree_of(text)
    left, deepest = [(tree, 1)], 1
    while left:
        node, depth = left.pop()
        deepest = max(deepest, depth)
        left += [(part, depth + 1) for part in node.parts]
    return tree if deepest <= PARTS_DEEP_MAX else Node(text, Form.UNREAD)


class WorkMeter:
    """Counts the values that the expressions of one evaluation handle."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.values = 0
        self._longest = 0
        self._longest_text = ""
        # To measure a whole input takes longer than to measure what an expression selects of it.
        self._scope: _Scope = {name: _unmeasured(value) for name, value in variables.items()}

    def count(self, tree: Node) -> None:
        """Raises TooMuchWork."""
        self._charge(self._part(tree, self._scope, 1).size_total)

    def _charge(self, values: int) -> None:
        self.values += values
        if self.values > EVALUATION_VALUES_MAX:
            goes_through = f": it goes through {self._longest:,} entries of {shown(self._longest_text)}"
            raise TooMuchWork(
                f"may handle more than {EVALUATION_VALUES_MAX:,} values{goes_through if self._longest else ''}; "
                "send shorter lists, or let a worker do this"
            )

    def _part(self, node: Node, scope: _Scope, rounds: int) -> _Extent:
        """The extent of the part's values, its work counted."""
        self._charge(rounds)
        form = node.form
        if form is _NAME:
            return _measured(scope[node.name], rounds) if node.name in scope else _single(rounds)
        if form is _CONSTANT:
            return _single(rounds, _size(node.text))
        if form is _SELECT:
            return self._copied(_selected(self._held(node.parts[0], scope, rounds), node.name, rounds))
        if form is _MACRO:
            return self._macro(node, scope, rounds)
        if form is _UNREAD:
            return self._unread(node, scope, rounds)
        parts = self._parts(node.parts, scope, rounds)
        if form is _CALL and node.name == "matches":
            self._charge(_PATTERN_VALUES * rounds + _PATTERN_TEXT_VALUES * sum(part.size_total for part in parts))
        return self._copied(_RESULTS[form](parts, rounds))

    def _held(self, node: Node, scope: _Scope, rounds: int) -> _Extent:
        """The extent of what something is selected from; a variable is not copied for that, nor measured."""
        is_variable = node.form is _NAME and node.name in scope
        return scope[node.name] if is_variable else self._part(node, scope, rounds)

    def _parts(self, parts: Iterable[Node], scope: _Scope, rounds: int) -> list[_Extent]:
        return [self._part(part, scope, rounds) for part in parts]

    def _copied(self, extent: _Extent) -> _Extent:
        self._charge(extent.size_total)
        return extent

    def _macro(self, node: Node, scope: _Scope, rounds: int) -> _Extent:
        target = self._part(node.parts[0], scope, rounds)
        inner_rounds = target.entries_total
        if target.entries > self._longest:
            self._longest, self._longest_text = target.entries, node.parts[0].text
        self._charge(target.size_total + inner_rounds * _ROUND_VALUES)
        if not inner_rounds:
            return _each([[]], rounds, is_each=False)
        inner = {name: _again(extent, inner_rounds) for name, extent in scope.items()}
        inner[node.bound] = _entries_of(target, inner_rounds)
        body = self._parts(node.parts[1:], inner, inner_rounds)
        match node.name:
            case "filter":
                return self._collected(target, target)
            case "map":
                return self._collected(_mapped(target, body[-1], rounds), target)
            case _:
                return _single(rounds)

    def _collected(self, made: _Extent, target: _Extent) -> _Extent:
        """The list that a macro makes, copied at each of its rounds."""
        self._charge((target.entries + 1) * made.size_total // 2)
        return made

    def _unread(self, node: Node, scope: _Scope, rounds: int) -> _Extent:
        """Of a part that the parser does not read: every macro in it may go through everything, within every other."""
        macros = sum(token.text in MACROS for token in tokens_of(node.text))
        size = 1 + sum(map(_size_of_all, scope.values()))
        self._charge(rounds * size ** (2 * macros + 1))
        return _Extent(None, size, size, rounds * size, rounds * size)


def _unmeasured(value: Any) -> _Extent:
    return _Extent([value], 0, 0, 0, 0, is_each=True)


def _measured(extent: _Extent, rounds: int) -> _Extent:
    if extent.size or extent.values is None:
        return extent
    return _each(extent.values, rounds, is_each=extent.is_each)


def _single(rounds: int, size: int = 1) -> _Extent:
    """A value that is no list, in each of the rounds."""
    return _Extent(None, size, 0, rounds * size, 0)


def _each(values: Sequence[Any], rounds: int, *, is_each: bool = True) -> _Extent:
    """Values that are known: one for each round, or some that may come in any."""
    sizes, entries = [_size(value) for value in values], [_length(value) for value in values]
    size, most = max(sizes, default=0), max(entries, default=0)
    if is_each:
        return _Extent(values, size, most, sum(sizes), sum(entries), is_each=True)
    return _Extent(values, size, most, rounds * size, rounds * most)


def _again(extent: _Extent, rounds: int) -> _Extent:
    """The extent of a value from outside of a macro, over all rounds of the macro."""
    return extent._replace(size_total=rounds * extent.size, entries_total=rounds * extent.entries, is_each=False)


def _selected(held: _Extent, name: str, rounds: int) -> _Extent:
    if held.values is None:
        return _Extent(None, held.size, held.size, held.size_total, held.size_total)
    values = [value[name] for value in held.values if isinstance(value, dict) and name in value]
    return _each(values, rounds, is_each=held.is_each)


def _entries_of(target: _Extent, rounds: int) -> _Extent:
    if target.values is None:
        entry = target.entry or _Extent(None, target.size, target.size, 0, 0)
        size_total = min(rounds * entry.size, target.size_total)
        return entry._replace(
            size_total=size_total, entries_total=min(rounds * entry.entries, size_total), is_each=False
        )
    entries = [entry for value in target.values if isinstance(value, list | dict) for entry in value]
    return _each(entries, rounds, is_each=target.is_each)


def _mapped(target: _Extent, body: _Extent, rounds: int) -> _Extent:
    size = 1 + target.entries * body.size
    return _Extent(None, size, target.entries, rounds + body.size_total, target.entries_total, entry=body)


def _indexed(parts: Sequence[_Extent], rounds: int) -> _Extent:
    entry = _entries_of(parts[0], parts[0].entries_total)
    return _again(entry, rounds) if entry.size else _single(rounds)


def _either(first: _Extent, second: _Extent) -> _Extent:
    return _Extent(
        None if first.values is None or second.values is None else [*first.values, *second.values],
        max(first.size, second.size),
        max(first.entries, second.entries),
        first.size_total + second.size_total,
        first.entries_total + second.entries_total,
        is_each=all(extent.is_each or not extent.entries for extent in (first, second)),
        entry=_entry_of_either(first, second),
    )


def _entry_of_either(first: _Extent, second: _Extent) -> _Extent | None:
    """The extent of an entry of one list or of the other; None where it is not known of both."""
    of_each = [_entry_of(extent) for extent in (first, second) if extent.entries]
    known = [entry for entry in of_each if entry is not None]
    return reduce(_either, known) if known and len(known) == len(of_each) else None


def _entry_of(extent: _Extent) -> _Extent | None:
    if extent.entry is not None or extent.values is None:
        return extent.entry
    return _entries_of(extent, extent.entries_total)


def _made(parts: Sequence[_Extent], rounds: int) -> _Extent:
    if not parts:
        return _each([[]], rounds, is_each=False)
    size, size_total = sum(part.size for part in parts), sum(part.size_total for part in parts)
    return _Extent(None, 1 + size, len(parts), rounds + size_total, rounds * len(parts), entry=reduce(_either, parts))


def _sum(parts: Sequence[_Extent], rounds: int) -> _Extent:
    """The result of `+`, or of a function: no larger than all that it is made of."""
    return _Extent(
        None,
        sum(part.size for part in parts),
        sum(part.entries for part in parts),
        sum(part.size_total for part in parts),
        sum(part.entries_total for part in parts),
    )


def _one_of(parts: Sequence[_Extent], rounds: int) -> _Extent:
    """The result of an operator: no larger than one of its operands."""
    size, size_total = max(part.size for part in parts), sum(part.size_total for part in parts)
    return _Extent(None, size, size, size_total, size_total)


_RESULTS: dict[Form, Callable[[Sequence[_Extent], int], _Extent]] = {
    Form.AND: lambda parts, rounds: _single(rounds),
    Form.OR: lambda parts, rounds: _single(rounds),
    Form.HAS: lambda parts, rounds: _single(rounds),
    Form.CHOICE: lambda parts, rounds: _either(*parts[1:]),
    Form.MAKE: _made,
    Form.SUM: lambda parts, rounds: _sum(parts, rounds)._replace(entry=_entry_of_either(*parts)),
    Form.CALL: _sum,
    Form.INDEX: _indexed,
    Form.PLAIN: _one_of,
}


def _size_of_all(extent: _Extent) -> int:
    return extent.size if extent.values is None else max(map(_size, extent.values), default=1)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _size(value: Any) -> int:
    """The size of the value: how many values it holds, itself among them. A mapping takes as long as four more."""
    if isinstance(value, str):
        return 1 + len(value) // _TEXT_CHARACTERS
    if isinstance(value, dict):
        return 5 + len(value) + sum(map(_size, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_size, value))
    return 1
