"""Expressions: traps that are refused when they are saved, and what an evaluation may cost."""

import json
from contextlib import suppress

import pytest

from tests.support.work import work_of
from tutumd.application.admission.expressions import Budget, EvaluationError, check_expression, evaluate, is_true
from tutumd.errors import InvalidInputError


@pytest.mark.parametrize(
    "text",
    [
        "body.ref == 'refs/heads/main'",
        "!(body.deleted)",
        "!body",
        "!body[0]",
        "!contains(body.ref, 'x')",
        "!(body.a) == !(body.b)",
        "body.commits[?author.name == 'x'] | [0].id",
        "body.commits[].{id: id, who: author.name}",
        "sort_by(body.tags, &length(@))[-1]",
        "@.body.ref",
        "headers.\"x-github-event\" == 'push'",
        "not_null(body.a, query.b)",
        "'x' == body.x",
    ],
)
def test_correct_expressions_are_accepted(text: str) -> None:
    assert check_expression("filter", text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!body.deleted", r"write !\(body.x\)"),
        ("body.commits[?!author.name]", r"write !\(body.x\)"),
        ("!body == 'x'", "write !\\(a == b\\)"),
        ("ref == 'refs/heads/main'", "write body.ref"),
        ("body.ref == main", "write body.main"),
        ('body.ref == "main"', "or as a text 'main'"),
        ('body.ref == "refs/heads/main"', "write text as 'refs/heads/main'"),
        ("&body.ref", "begins with &"),
        ("'main'", "is always the same"),
        ("`true`", "is always the same"),
        ("length('abc') > `2`", "is always the same"),
        ('headers."X-GitHub-Event"', 'headers."x-github-event"'),
        ('headers."x-gitlab-token"', "use verify"),
        ("headers.authorization", "use verify"),
        ("body.ref = 'x'", "not a JMESPath expression"),
        ("body.ref ==", "not a JMESPath expression"),
        ("body[", "not a JMESPath expression"),
        ("lower(body.ref)", "knows no function lower"),
        ("contains(body.ref)", "2 arguments, got 1"),
        ("keys(body, body)", "1 arguments, got 2"),
        ("(" * 600 + "body" + ")" * 600, "nested too deep"),
        (" || ".join(["body.a"] * 150), "nested deeper"),
        ("body." * 500, "1 to 2000"),
    ],
)
def test_slips_are_refused_when_an_expression_is_saved(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_expression("filter", text)


@pytest.mark.parametrize(
    ("result", "truth"),
    [
        (None, False),
        (False, False),
        ("", False),
        ([], False),
        ({}, False),
        (0, True),
        (0.0, True),
        ("0", True),
        ([0], True),
    ],
)
def test_truth_is_jmespaths(result: object, truth: bool) -> None:
    assert is_true(result) is truth


MANY = {"body": {"a": [[number, str(number)] for number in range(50_000)], "t": "x" * 500_000}}


@pytest.mark.parametrize(
    "text",
    [
        "body.a[?contains(@, `1`)]" + " && body.a[?contains(@, `1`)]" * 20,
        "body.a | " + " | ".join(["[@, @][]"] * 60),
        "body.a | " + " | ".join(["[@, @, @, @, @, @, @, @, @, @][]"] * 30),
        "body.a | " + " | ".join(["[@, @]"] * 40) + " | to_string(@)",
        "body | [" + " | ".join(["[@, @]"] * 30) + "][0] == " + " | ".join(["[@, @]"] * 30),
        "body | {x: a" + " | [@, @]" * 40 + ", y: a" + " | [@, @]" * 40 + "} | x == y",
        "join(body.t, body.a[][1:][?type(@) == 'string'])",
        "join(body.t, keys(merge(body, body))) | " + " | ".join(["join(@, ['a', 'b', @])"] * 60),
        "body.a" + "[::1]" * 300,
        "body.a[*][*][*] | [].[@] | [?sort(keys(@))]",
        "map(&map(&[0], @), [body.a, body.a, body.a, body.a])",
        "body.a[?body.a]" + "[]" * 200,
    ],
)
def test_what_takes_too_long_is_stopped_soon(text: str) -> None:
    def attempt() -> None:
        with suppress(EvaluationError):
            evaluate(text, MANY, Budget())

    assert work_of(attempt) < 1500  # 300 at the most


def test_an_evaluation_that_is_too_long_says_so() -> None:
    with pytest.raises(EvaluationError, match="too long"):
        evaluate("body.a[?contains(@, `1`)]" + " && body.a[?contains(@, `1`)]" * 20, MANY, Budget())


DIGITS = {"body": {"a": [int("9" * 4000) for _ in range(250)]}}
"""The most that one body of 1 MiB has."""


@pytest.mark.parametrize(
    "text",
    [
        " && ".join(["to_string(body.a) != 'x'"] * 60),
        "body.a[*].to_string(@) | " + " && ".join(["to_string(@)"] * 60),
        "map(&to_string(@), body.a[].[@, @, @, @, @, @, @, @][].[@, @, @, @, @, @, @, @][])",
        " && ".join(["max(body.a) >= `0` && sum(body.a) >= `0` && type(body.a) != 'x'"] * 25),
        " && ".join(["body.a == body.a"] * 100),
    ],
)
def test_long_integers_take_steps_by_their_length(text: str) -> None:
    with pytest.raises(EvaluationError, match="too long"):
        evaluate(text, DIGITS, Budget())


def test_ordinary_integers_take_no_steps() -> None:
    document = {"body": {"a": [2**63 + number for number in range(2000)]}}
    assert is_true(evaluate(" && ".join(["max(body.a) > `0`"] * 40), document, Budget()))


def test_a_large_push_is_within_the_budget() -> None:
    commits = [{"message": f"change {n}", "modified": [f"src/{n}/{m}.py" for m in range(5)]} for n in range(1500)]
    document = {"body": json.loads(json.dumps({"commits": commits}))}
    assert is_true(evaluate("body.commits[?contains(message, 'change 1499')]", document, Budget()))
    assert is_true(evaluate("contains(body.commits[].modified[], 'src/1499/4.py')", document, Budget()))


@pytest.mark.parametrize(
    "text",
    [
        "ceil(body.i)",
        "'a' < body.n",
        "body.l[::0]",
        "sum(body.s)",
        "abs(body.l)",
        "max_by(body.l, &x)",
        "sort(body.mixed)",
    ],
)
def test_every_failure_is_an_evaluation_error(text: str) -> None:
    document = {"body": {"i": float("inf"), "n": 1, "l": [{"x": "a"}, {"x": 1}], "s": "x", "mixed": [1, "a"]}}
    with pytest.raises(EvaluationError):
        evaluate(text, document, Budget())
