"""JMESPath expressions over `{body, headers, query}`: checked when saved, evaluated within a budget."""

import re
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
"""Steps that one evaluation may take: about 0.2 s at the most. A list looked through costs a step per element."""

ROOTS = ("body", "headers", "query")

_Node = Any  # jmespath's own tree: {"type": str, "children": list, "value": ...}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT_PER_STEP = 100
_STEPS_PER_CALL = 10
_FIRST_ONLY = {"subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection"}
_INTO = (_FIRST_ONLY - {"pipe"}) | {"flatten"}
_LEAVES = {"literal", "index", "slice", "identity"}


class EvaluationError(Exception):
    """An expression could not be evaluated over what was sent; the text says why, without anything of it."""


def check_expression(name: str, value: object) -> str:
    """Check an expression when it is saved, also for what is well formed but never what was meant.

    Raises:
        InvalidInputError: It is no JMESPath, too long or too deep, or falls into a known trap; says which.
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
    if not _Check(name).visit(tree, at_root=True, depth=0):
        raise InvalidInputError(
            f"{name} looks at none of {', '.join(ROOTS)}, so it is always the same: write for example"
            " body.ref == 'refs/heads/main'"
        )
    return text


def evaluate(text: str, document: dict[str, Any]) -> Any:
    """Evaluate a checked expression. Raises EvaluationError, also once it took BUDGET steps."""
    budget = _Budget()
    try:
        return _Interpreter(budget).visit(_compile(text), document)
    except EvaluationError:
        raise
    except RecursionError:
        raise EvaluationError("it is nested too deep") from None
    except JMESPathError as error:
        kind = type(error).__name__.removesuffix("Error")
        raise EvaluationError(f"a function got what it does not take ({kind})") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # What the library lets through: 'a' < `1`, a slice with step 0, ceil() of an infinite number.
        raise EvaluationError("it compares or counts what cannot be compared or counted") from None


def is_true(result: object) -> bool:
    """Tell truth as JMESPath has it: null, false and what is empty are false; 0 is true."""
    return not (result is None or result is False or result in ("", [], {}))


@lru_cache(maxsize=1024)
def _compile(text: str) -> _Node:
    return jmespath.compile(text).parsed


class _Check:
    """Walks through an expression and refuses traps."""

    def __init__(self, name: str) -> None:
        self._name = name

    def visit(self, node: _Node, *, at_root: bool, depth: int) -> bool:
        """Check a node; answer whether it looks at the document."""
        if depth > MAX_NESTING:
            raise self._error(f"is nested deeper than {MAX_NESTING} levels: use fewer operators")
        kind, children = node["type"], node["children"]
        if kind in _LEAVES:
            return False
        if kind == "field":
            return self._field(node["value"], at_root=at_root)
        if kind == "current":
            return True
        at_root = at_root and kind != "expref"
        self._refuse_traps(kind, node, at_root=at_root)
        looks = [
            self.visit(child, at_root=at_root and not (number and kind in _FIRST_ONLY), depth=depth + 1)
            for number, child in enumerate(children)
        ]
        return any(looks)

    def _field(self, field: str, *, at_root: bool) -> bool:
        if at_root and field not in ROOTS:
            if _PLAIN.fullmatch(field):
                plain = field[:50]
                raise self._error(f"knows {', '.join(ROOTS)}, not {plain}: write body.{plain}, or as a text '{plain}'")
            raise self._error(f"reads \"{field[:50]}\" as the name of a field: write text as '{field[:50]}'")
        return True

    def _refuse_traps(self, kind: str, node: _Node, *, at_root: bool) -> None:
        children = node["children"]
        first = children[0] if children else {"type": ""}
        if kind in _INTO and first["type"] == "not_expression":
            raise self._error("reads !body.x as (!body).x, which is always null: write !(body.x)")
        if kind == "comparator" and first["type"] == "not_expression" and not _is_boolean(children[1]):
            raise self._error("reads !a == b as (!a) == b: write !(a == b), or a != b")
        if kind == "function_expression":
            self._function(node["value"], len(children))
        if at_root and kind == "subexpression" and first == {"type": "field", "children": [], "value": "headers"}:
            self._header(children[1])

    def _header(self, node: _Node) -> None:
        name = node["value"] if node["type"] == "field" else ""
        if name != name.lower():
            raise self._error(f'must name headers in lower case: headers."{name.lower()[:50]}"')
        if is_secret(name):
            raise self._error(f"does not see the header {name[:50]}, which is a secret: use verify")

    def _function(self, function: str, count: int) -> None:
        known = Functions.FUNCTION_TABLE.get(function)
        if known is None:
            raise self._error(
                f"knows no function {function[:50]}(): there are {', '.join(sorted(Functions.FUNCTION_TABLE))}"
            )
        signature = known["signature"]
        is_variadic = bool(signature) and bool(signature[-1].get("variadic"))
        if count < len(signature) or (count > len(signature) and not is_variadic):
            raise self._error(f"must give {function}() {len(signature)} arguments, got {count}")

    def _error(self, text: str) -> InvalidInputError:
        return InvalidInputError(f"{self._name} {text}")


def _is_boolean(node: _Node) -> bool:
    return node["type"] == "not_expression" or (node["type"] == "literal" and isinstance(node["value"], bool))


class _Budget:
    """Counts what an evaluation costs. Raises EvaluationError once that is too much."""

    def __init__(self) -> None:
        self._left = BUDGET

    def charge(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise EvaluationError("it takes too long over a payload of this size")

    def charge_values(self, *values: object) -> None:
        """Charge for values that are looked through as a whole; lists may be shared, so that sizes multiply."""
        open_values: list[object] = list(values)
        while open_values:
            value = open_values.pop()
            if isinstance(value, str):
                self.charge(len(value) // _TEXT_PER_STEP)
            elif isinstance(value, list | dict):
                self.charge(1 + len(value))
                open_values.extend(value if isinstance(value, list) else (*value.keys(), *value.values()))


class _Functions(Functions):
    def __init__(self, budget: _Budget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        resolved_args = list(resolved_args)
        self._budget.charge(_STEPS_PER_CALL)
        self._budget.charge_values(*resolved_args)
        if function_name == "join" and all(isinstance(value, str | list) for value in resolved_args):
            self._budget.charge(len(resolved_args[0]) * len(resolved_args[1]) // _TEXT_PER_STEP)
        return super().call_function(function_name, resolved_args)


class _Interpreter(TreeInterpreter):
    """jmespath's interpreter, which stops when the budget is used up."""

    def __init__(self, budget: _Budget) -> None:
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
    """Make the node over values that were evaluated already."""
    return {**node, "children": [{"type": "literal", "children": [], "value": value} for value in values]}
