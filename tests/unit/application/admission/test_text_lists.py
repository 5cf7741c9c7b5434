"""Lists as people type them, and what of it no call can satisfy."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.application.admission.calls import evaluation, payload
from tests.unit.application.made_handlers import NOW, make_handler, plan, texts_of
from tutumd.application.admission.evaluate import Verdict
from tutumd.application.admission.json_checks import check_name, check_text, join_texts, split_texts
from tutumd.application.handlers import list_contradictions, public_options
from tutumd.errors import InvalidInputError
from tutumd.web.pages.handler_form import make_form, read_form


def test_a_refused_text_is_told_its_whole_length() -> None:
    with pytest.raises(InvalidInputError, match=r"at most 255 characters, got 256$"):
        check_name("n" * 255 + " ")
    with pytest.raises(InvalidInputError, match=r"1 to 9 characters, got 0$"):
        check_text("stack", "  ", 9)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("main, release/*", ["main", "release/*"]),
        ("main,release/*", ["main", "release/*"]),
        ("main\nrelease/*", ["main", "release/*"]),
        ("main\r\nrelease/*\r\n", ["main", "release/*"]),
        (" main ,\n , release/* ,,\n\n", ["main", "release/*"]),
        ("main", ["main"]),
        ('"a,b/**", src/**', ["a,b/**", "src/**"]),
        ('src/**, "a,b/**" , "x ""y"""', ["src/**", "a,b/**", 'x "y"']),
        ("my folder/**", ["my folder/**"]),
        ('"never closed, x', ["never closed, x"]),
        (" , \n", []),
    ],
)
def test_commas_and_lines_separate_and_quotes_keep_commas(text: str, items: list[str]) -> None:
    assert split_texts(text) == items
    assert split_texts(join_texts(items)) == items


def test_the_examples_of_the_form_work_as_they_are_typed() -> None:
    for field in (field for group in make_form(None) for field in group["fields"]):
        for each, _ in field["inputs"]:
            example = each.example or field["example"]
            if each.kind == "lines":
                for typed in (example, example.replace("\n", ", "), example.replace("\n", ",\r\n") + ","):
                    document, errors = read_form({"operation": "REDEPLOY", each.name: typed}, None, NOW)
                    assert errors == {}
                    shown = public_options(make_handler(document))[field["entry"].name]
                    assert sorted(example.split("\n")) == sorted(_texts_in(shown)), each.name


def test_the_push_that_the_example_names_counts() -> None:
    condition = {"preset": "branch", "branch": "main, release/*"}
    assert evaluation(payload("github-push"), filter=condition) == Verdict()
    assert evaluation(payload("dockerhub"), filter={"preset": "tag", "tag": "v*,\nlatest,"}) == Verdict()


@pytest.mark.parametrize(
    "options",
    [
        {"filter": {"preset": "branch", "branch": "main, release/*"}},
        {"filter": {"preset": "tag", "tag": "v*\nlatest"}},
        {"filter": {"preset": "paths", "paths": '"a,b/**", src/**'}},
        {"filter": {"preset": "paths", "paths": ["a,b/**"]}},
        {"tag": {"allow": "v*, latest"}},
        {"allow_from": "10.0.0.0/8, 192.0.2.7\n2001:db8::/32"},
    ],
)
def test_a_text_means_the_list_and_a_form_that_shows_it_changes_nothing(options: dict[str, Any]) -> None:
    handler = make_handler({"name": "x", **options})
    shown = public_options(handler)
    assert plan(handler, {name: shown[name] for name in options}) == {}
    assert read_form(texts_of(handler), handler, NOW) == ({}, {})


REFUSED: list[tuple[Mapping[str, Any], str]] = [
    ({"filter": [{"preset": "branch", "branch": "main"}, {"preset": "tag", "tag": "v*"}]}, "or of a tag"),
    ({"filter": {"preset": "branch", "branch": "main dev"}}, "no spaces"),
    ({"filter": {"preset": "branch", "branch": ["main, dev"]}}, "no spaces"),
    ({"filter": {"preset": "tag", "tag": '"v1,v2"'}}, "no commas"),
    ({"filter": {"preset": "branch", "branch": "release/{1,2}"}}, "braces"),
    ({"filter": {"preset": "paths", "paths": ["src/{a,b}/**"]}}, "braces"),
    ({"tag": {"allow": ["v1 v2"]}}, "no spaces"),
]


@pytest.mark.parametrize(("options", "reason"), REFUSED)
def test_a_handler_that_no_call_can_satisfy_is_refused(options: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason) as refusal:
        make_handler({"name": "x", **options})
    assert [refusal.value.field] == list(options)
    with pytest.raises(InvalidInputError, match=reason):
        plan(make_handler({"name": "x"}), dict(options))


@pytest.mark.parametrize(
    "options",
    [
        {"filter": [{"preset": "branch", "branch": "main"}, {"preset": "paths", "paths": "my folder/**"}]},
        {"filter": [{"preset": "branch", "branch": "ma*"}, {"preset": "branch", "branch": "main"}]},
        {"filter": {"preset": "branch", "branch": "feature/{x}"}},
        {  # one call of Bitbucket can be about a branch and a tag
            "filter": [{"preset": "branch", "branch": "main"}, {"preset": "tag", "tag": "v*"}],
            "verify": {"preset": "bitbucket", "secrets": ["s"]},
        },
    ],
)
def test_a_handler_that_some_call_can_satisfy_is_created(options: dict[str, Any]) -> None:
    handler = make_handler({"name": "x", **options})
    assert list_contradictions(handler.options) == {}


def test_other_fields_of_a_handler_that_no_call_can_satisfy_can_be_changed() -> None:
    both = [{"preset": "branch", "branch": "main"}, {"preset": "tag", "tag": "v*"}]
    handler = replace(make_handler({"name": "x"}), options={"filter": both})
    assert list_contradictions(handler.options).keys() == {"filter"}
    assert plan(handler, {"debounce": 5}) == {"debounce": 5}


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() if key not in ("preset", "from") for text in _texts_in(each)]
    return [value] if isinstance(value, str) else list(value)
