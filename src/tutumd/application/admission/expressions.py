"""JMESPath expressions over `{body, headers, query}`: checked when saved, evaluated within a budget."""

import re
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

from tutumd.application.admission.headers import is_secret
from tutumd.application.admission.json_checks import check_text
from tutumd.errors import InvalidInputError

MAX_LENGTH = 2000
MAX_NESTING = 100
BUDGET = 100_000
"""Steps that the expression and the globs of a call may take: about 0.2 s, at most half a second. Each element that is
read costs a step, and a long element costs more.
"""

ROOTS = ("body", "headers", "query")

_Node = Any  # a node of jmespath's syntax tree: {"type": str, "children": list, "value": ...}
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CHARACTERS_PER_STEP = 100
_BITS_PER_STEP = 128  # applies to integers: they may have 4,300 digits, which are slow to format
_STEPS_PER_PAUSE = 100
_STEPS_PER_CALL = 10
_ROOT_FOR_FIRST_CHILD = {
    "subexpression",
    "index_expression",
    "pipe",
    "projection",
    "value_projection",
    "filter_projection",
}
_BINDS_TO_NEGATION = (_ROOT_FOR_FIRST_CHILD - {"pipe"}) | {"flatten"}
_LEAVES = {"literal", "index", "slice", "identity"}


class EvaluationError(Exception):
    """An expression could not be evaluated over a call. The text gives the reason without any content of the call."""


def check_expression(name: str, value: object) -> str:
    """Return the expression if it is valid and unlikely to be a slip.

    Raises:
        InvalidInputError: The expression is not JMESPath, is too long or nested too deep, or does not mean what it
            seems to mean.
    """
    text = check_text(name, value, MAX_LENGTH)
    try:
        tree = _compile(text)
    except JMESPathError as error:
        first_line = str(error).partition("\n")[0].replace(", for expression:", "").rstrip(":")
        raise InvalidInputError(f"{name} is not a JMESPath expression: {first_line[:200]}") from None
    except RecursionError:
        raise InvalidInputError(f"{name} is nested too deep") from None
    if tree["type"] == "expref":
        raise InvalidInputError(f"{name} begins with &, which is for arguments of functions: leave it out")
    try:
        reads_document = _check_node(tree, at_root=True, depth=0)
    except _SlipError as slip:
        raise InvalidInputError(f"{name} {slip}") from None
    if not reads_document:
        raise InvalidInputError(
            f"{name} reads none of {', '.join(ROOTS)}, so its result is always the same: write for example"
            " body.ref == 'refs/heads/main'"
        )
    return text


def evaluate(text: str, document: dict[str, Any], budget: "Budget") -> Any:
    """Return the value of a checked expression. Raises EvaluationError, also when the budget is exhausted."""
    try:
        return _Interpreter(budget).visit(_compile(text), document)
    except RecursionError:
        raise EvaluationError("it is nested too deep") from None
    except JMESPathError as error:
        kind = type(error).__name__.removesuffix("Error")
        raise EvaluationError(f"a function got what it does not take ({kind})") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # The library itself raises this: 'a' < `1`, a slice with step 0, ceil() of an infinite number.
        raise EvaluationError("it compares or counts what cannot be compared or counted") from None


def is_true(result: object) -> bool:
    """Return whether JMESPath treats a value as true: null, false and empty values are false, 0 is true."""
    return not (result is None or result is False or result in ("", [], {}))


@lru_cache(maxsize=1024)
def _compile(text: str) -> _Node:
    return jmespath.compile(text).parsed


class _SlipError(Exception):
    """The expression is valid but does not mean what its author intended."""


def _check_node(node: _Node, *, at_root: bool, depth: int) -> bool:
    """Return whether a node reads the document. Raises _SlipError.

    Args:
        at_root: Whether names in the node refer to the document itself.
    """
    if depth > MAX_NESTING:
        raise _SlipError(f"is nested deeper than {MAX_NESTING} levels: use fewer operators")
    kind, children = node["type"], node["children"]
    if kind in _LEAVES:
        return False
    if kind == "current":
        return True
    if kind == "field":
        _check_field(node["value"], at_root=at_root)
        return True
    at_root = at_root and kind != "expref"
    _check_operator(kind, node, at_root=at_root)
    reads = [
        _check_node(child, at_root=at_root and not (number and kind in _ROOT_FOR_FIRST_CHILD), depth=depth + 1)
        for number, child in enumerate(children)
    ]
    return any(reads)


def _check_field(name: str, *, at_root: bool) -> None:
    if at_root and name not in ROOTS:
        if _PLAIN_NAME.fullmatch(name):
            plain = name[:50]
            raise _SlipError(f"knows {', '.join(ROOTS)}, not {plain}: write body.{plain}, or as a text '{plain}'")
        raise _SlipError(f"reads \"{name[:50]}\" as the name of a field: write text as '{name[:50]}'")


def _check_operator(kind: str, node: _Node, *, at_root: bool) -> None:
    children = node["children"]
    first = children[0] if children else {"type": ""}
    if kind in _BINDS_TO_NEGATION and first["type"] == "not_expression":
        raise _SlipError("reads !body.x as (!body).x, which is always null: write !(body.x)")
    if kind == "comparator" and first["type"] == "not_expression" and not _is_boolean(children[1]):
        raise _SlipError("reads !a == b as (!a) == b: write !(a == b), or a != b")
    if kind == "function_expression":
        _check_function(node["value"], len(children))
    if at_root and kind == "subexpression" and first == {"type": "field", "children": [], "value": "headers"}:
        _check_header(children[1])


def _check_header(node: _Node) -> None:
    name = node["value"] if node["type"] == "field" else ""
    if name != name.lower():
        raise _SlipError(f'must name headers in lower case: headers."{name.lower()[:50]}"')
    if is_secret(name):
        raise _SlipError(f"does not see the header {name[:50]}, which is a secret: use verify")


def _check_function(function: str, count: int) -> None:
    known = Functions.FUNCTION_TABLE.get(function)
    if known is None:
        raise _SlipError(
            f"knows no function {function[:50]}(): there are {', '.join(sorted(Functions.FUNCTION_TABLE))}"
        )
    signature = known["signature"]
    is_variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if count < len(signature) or (count > len(signature) and not is_variadic):
        raise _SlipError(f"must give {function}() {len(signature)} arguments, got {count}")


def _is_boolean(node: _Node) -> bool:
    return node["type"] == "not_expression" or (node["type"] == "literal" and isinstance(node["value"], bool))


class Budget:
    """Counts the steps of an evaluation. Raises EvaluationError if there are too many steps."""

    def __init__(self) -> None:
        self._left: float = BUDGET - 1  # at BUDGET, the first step would already pause

    def charge(self, steps: float) -> None:
        """Count steps, and yield to other threads now and then."""
        before, self._left = self._left, self._left - steps
        if before // _STEPS_PER_PAUSE != self._left // _STEPS_PER_PAUSE:
            time.sleep(0)  # let other threads run: otherwise they wait 5 ms for the interpreter
        if self._left < 0:
            raise EvaluationError("it takes too long over a payload of this size")

    def charge_values(self, *values: object) -> None:
        """Charge for values that are read completely. Lists may be shared, so that sizes multiply."""
        unread: list[object] = list(values)
        while unread:
            value = unread.pop()
            if isinstance(value, str):
                self.charge(len(value) // _CHARACTERS_PER_STEP)
            elif isinstance(value, int):
                self.charge(value.bit_length() // _BITS_PER_STEP)
            elif isinstance(value, list | dict):
                self.charge(1 + len(value))
                unread.extend(value if isinstance(value, list) else (*value.keys(), *value.values()))


class _Functions(Functions):
    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        resolved_args = list(resolved_args)
        self._budget.charge(_STEPS_PER_CALL)
        self._budget.charge_values(*resolved_args)
        if function_name == "join" and all(isinstance(value, str | list) for value in resolved_args):
            self._budget.charge(len(resolved_args[0]) * len(resolved_args[1]) // _CHARACTERS_PER_STEP)
        return super().call_function(function_name, resolved_args)


class _Interpreter(TreeInterpreter):
    """jmespath's interpreter with a budget."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(Options(custom_functions=_Functions(budget)))
        self._budget = budget

    def visit(self, node: _Node, *args: Any, **kwargs: Any) -> Any:
        self._budget.charge(1)
        return super().visit(node, *args, **kwargs)

    def visit_comparator(self, node: _Node, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        self._budget.charge_values(*sides)
        return super().visit_comparator(_with_children(node, *sides), value)

    def visit_flatten(self, node: _Node, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if isinstance(base, list):
            self._budget.charge(sum(len(element) if isinstance(element, list) else 1 for element in base))
        return super().visit_flatten(_with_children(node, base), value)

    def visit_slice(self, node: _Node, value: Any) -> Any:
        if isinstance(value, list):
            self._budget.charge(len(value))
        return super().visit_slice(node, value)


def _with_children(node: _Node, *values: Any) -> _Node:
    """Return the node with children that are already evaluated."""
    return {**node, "children": [{"type": "literal", "children": [], "value": value} for value in values]}
