# SPDX-License-Identifier: MIT
"""The small language of calls and comparisons: `[key] = C_FindObjects(session, 1) -> CKR_OK`, `info.state == CKS_...`.

It is a part of Python's expressions, read with Python's own parser and evaluated here: values, saved names, constants
of PKCS #11, attributes, elements, comparisons and a little arithmetic; nothing can be called or imported.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...p11 import constants
from ..clients.call_process.functions import FUNCTIONS
from ..simulator.value_types import return_value

DIED = "died"
"""What a call may be expected to do instead of returning: the program dies in it."""

_CALL = re.compile(r"(?P<left>.*?)(?:\s*->\s*(?P<values>[^\"']*))?", re.DOTALL)
_BINARY: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
_LENGTH = "len"
_WORDS: dict[str, bool | None] = {
    "NULL": None,
    **dict.fromkeys(("TRUE", "CK_TRUE", "true"), True),
    **dict.fromkeys(("FALSE", "CK_FALSE", "false"), False),
}
"""As the standard and YAML write them; Python's own True, False and None are read as well."""

_PIN = re.compile(r"(C_Login|C_LoginUser|C_SetPIN|C_InitPIN|C_InitToken)\((?:.*\)|.*)", re.DOTALL)

_LONGEST = 1000


class ExpressionError(ValueError):
    """A text that is no call or comparison, or one that cannot be evaluated now."""


@dataclass(frozen=True)
class CallText:
    """A call as it was written. `values` are the CK_RVs that are expected, empty for any; `dies` when it never returns.

    `targets` are the names under which the result is saved; with `unpacks` it is a list of so many values.
    """

    text: str
    function: str
    arguments: tuple[ast.expr, ...]
    targets: tuple[str, ...] = ()
    unpacks: bool = False
    values: frozenset[int] = frozenset({0})
    dies: bool = False

    @property
    def names(self) -> set[str]:
        """Return the saved names, or readers, that it needs."""
        return {name for argument in self.arguments for name in names_in(argument)}

    @property
    def children(self) -> set[str]:
        """Return the names of the clients that it forks."""
        if self.function != "fork":
            return set()
        return {str(getattr(argument, "value", "")) for argument in self.arguments}


@lru_cache(1000)
def read_call(text: str) -> CallText:
    """Parse a call. Raises ExpressionError."""
    match = _CALL.fullmatch(text.strip())
    assert match is not None  # it fits everything
    tree = _parse(match["left"], "exec")
    statements = tree.body if isinstance(tree, ast.Module) else []
    if len(statements) != 1:
        raise ExpressionError("one call is wanted")
    statement = statements[0]
    targets, unpacks, value = _targets(statement)
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name) or value.keywords:
        raise ExpressionError("a call is wanted, as C_Login(session, CKU_USER, '123456') -> CKR_OK")
    function = FUNCTIONS.get(value.func.id)
    if function is None:
        raise ExpressionError(f"there is no function {value.func.id!r} to call")
    if not function.least <= len(value.args) <= function.most:
        raise ExpressionError(f"{value.func.id} takes {function.usage}")
    for argument in value.args:
        _check(argument)
    if targets and not function.gives:
        raise ExpressionError(f"{value.func.id} gives nothing that could be saved")
    values, dies = _values(match["values"])
    return CallText(text.strip(), value.func.id, tuple(value.args), targets, unpacks, values, dies)


@lru_cache(1000)
def read_expression(text: str) -> ast.expr:
    """Parse a value or comparison. Raises ExpressionError."""
    tree = _parse(text.strip(), "eval")
    assert isinstance(tree, ast.Expression)
    _check(tree.body)
    return tree.body


def names_in(tree: ast.expr) -> set[str]:
    """Return the names that are no constants."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return {name for name in found - {_LENGTH} if _constant(name) is None}


def compared_in(tree: ast.Compare) -> list[ast.expr]:
    """Return the values that a comparison compares."""
    return [tree.left, *tree.comparators]


def evaluate(tree: ast.expr, saved: Mapping[str, Any]) -> Any:
    """Evaluate an expression. Raises ExpressionError for a missing name, or a value without such an attribute."""
    try:
        return _Evaluation(saved).value(tree)
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ExpressionError(f"{ast.unparse(tree)} cannot be evaluated: {error}") from None


class _Evaluation:
    def __init__(self, saved: Mapping[str, Any]) -> None:
        self._saved = saved

    def value(self, tree: ast.expr) -> Any:
        match tree:
            case ast.Constant():
                return tree.value
            case ast.Name():
                return self._name(tree.id)
            case ast.List() | ast.Tuple():
                return [self.value(each) for each in tree.elts]
            case ast.Dict():
                return {self.value(key): self.value(each) for key, each in _pairs(tree)}
            case ast.Attribute():
                return self.value(tree.value)[tree.attr]
            case ast.Subscript():
                return self.value(tree.value)[self.value(tree.slice)]
            case ast.BinOp():
                return _BINARY[type(tree.op)](self.value(tree.left), self.value(tree.right))
            case ast.UnaryOp():
                operand = self.value(tree.operand)
                return -operand if isinstance(tree.op, ast.USub) else not operand
            case ast.Call():
                return len(self.value(tree.args[0]))
            case ast.BoolOp():
                values = (bool(self.value(each)) for each in tree.values)
                return all(values) if isinstance(tree.op, ast.And) else any(values)
            case ast.Compare():
                return self._compare(tree)
        raise ExpressionError(f"{ast.unparse(tree)!r} is nothing that can be evaluated")

    def _compare(self, tree: ast.Compare) -> bool:
        left = self.value(tree.left)
        for kind, each in zip(tree.ops, tree.comparators, strict=True):
            right = self.value(each)
            if not _COMPARISONS[type(kind)](left, right):
                return False
            left = right
        return True

    def _name(self, name: str) -> Any:
        if name in self._saved:
            return self._saved[name]
        value = _constant(name)
        if value is None:
            raise ExpressionError(f"nothing is saved under {name!r}")
        return value[0]


def without_pin(text: str) -> str:
    """Return a call for a message: without its arguments, where one of them is a PIN."""
    return _PIN.sub(r"\1(...)", text)


def _parse(text: str, mode: str) -> ast.AST:
    if len(text) > _LONGEST:
        raise ExpressionError(f"longer than {_LONGEST} characters")
    try:
        return ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{without_pin(text)!r} cannot be read: {getattr(error, 'msg', error)}") from None


def _targets(statement: ast.stmt) -> tuple[tuple[str, ...], bool, ast.expr | None]:
    """Return the names that are assigned to, whether they are elements, and what is assigned."""
    if isinstance(statement, ast.Expr):
        return (), False, statement.value
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return (), False, None
    target = statement.targets[0]
    unpacks = isinstance(target, ast.List | ast.Tuple)
    elements = target.elts if isinstance(target, ast.List | ast.Tuple) else [target]
    names = tuple(each.id for each in elements if isinstance(each, ast.Name))
    if len(names) != len(elements) or not names:
        raise ExpressionError("a result is saved under a name, or its elements under names in brackets")
    for name in names:
        if _constant(name) is not None or name == _LENGTH:
            raise ExpressionError(f"{name} has a meaning already and cannot be saved to")
    return names, unpacks, statement.value


def _values(text: str | None) -> tuple[frozenset[int], bool]:
    """Return the return values after the arrow, and whether the program is to die instead."""
    if text is None:
        return frozenset({0}), False
    words = [word.strip() for word in text.split("|")]
    if words == ["any"]:
        return frozenset(), False
    if words == [DIED]:
        return frozenset(), True
    try:
        return frozenset(map(return_value, words)), False
    except ValueError as error:
        raise ExpressionError(f"{error}; after -> come names of return values, 'any' or '{DIED}'") from None


def _check(tree: ast.expr) -> None:
    """Refuse what `evaluate` does not know."""
    for node in _nodes(tree):
        match node:
            case ast.Constant(value=bool() | int() | str() | bytes() | None):
                continue
            case ast.Name() | ast.List() | ast.Tuple() | ast.Attribute() | ast.Subscript() | ast.BoolOp():
                continue
            case ast.Dict() if all(node.keys):
                continue
            case ast.BinOp() if type(node.op) in _BINARY:
                continue
            case ast.UnaryOp() if isinstance(node.op, ast.USub | ast.Not):
                continue
            case ast.Compare() if all(type(each) in _COMPARISONS for each in node.ops):
                continue
            case ast.Call(func=ast.Name(id="len"), keywords=[]) if len(node.args) == 1:
                continue
        raise ExpressionError(f"{ast.unparse(node)!r} has no place in a scenario")


def _nodes(tree: ast.expr) -> Iterator[ast.expr]:
    """Iterate over the expressions in an expression, without the name in len(...)."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.expr) and not (isinstance(tree, ast.Call) and child is tree.func):
            yield from _nodes(child)


def _pairs(tree: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
    for key, value in zip(tree.keys, tree.values, strict=True):
        assert key is not None
        yield key, value


@lru_cache(5000)
def _constant(name: str) -> tuple[Any] | None:
    """Return the value of a name of PKCS #11, as CKM_RSA_PKCS, TRUE or NULL, in a tuple."""
    if name in _WORDS:
        return (_WORDS[name],)
    kind, _, rest = name.partition("_")
    members: Collection[str] = getattr(getattr(constants, kind, None), "__members__", ())
    return (int(getattr(constants, kind)[rest]),) if re.fullmatch("CK[A-Z]", kind) and rest in members else None
