"""The form of a handler: what it shows is what it sends, whatever is set on the handler."""

from typing import Any

import pytest
from hypothesis import given

from tests.acceptance.handler_documents import handlers
from tests.fuzz.budget import budget
from tests.unit.application.made_handlers import NOW, make_handler, plan, texts_of
from tutumd.application import handlers as rules
from tutumd.application.admission.fields import FIELDS
from tutumd.model import Handler
from tutumd.web.pages.handler_form import read_form

FREE = {name: None for name, field in FIELDS.items() if field.operation}

CHANGED = ("enabled", "expires_datetime", "max_uses", "filter", "rate_limit", "allow_from", "debounce", "show_log")


@pytest.mark.slow
@budget(150)
@given(handlers())
def test_a_form_that_nobody_touched_changes_nothing(document: dict[str, Any]) -> None:
    handler = make_handler(document)
    assert read_form(texts_of(handler), handler, NOW) == ({}, {})


@budget(150)
@given(handlers())
def test_a_new_handler_from_the_texts_of_another_is_like_it(document: dict[str, Any]) -> None:
    handler = make_handler(document)
    texts = texts_of(handler)
    if "verify" in document:
        texts["verify.secrets"] = "\r\n".join(document["verify"].get("secrets", ()))
    read, errors = read_form(texts, None, NOW)
    assert errors == {}
    made = make_handler(read)
    assert (made.name, made.operation) == (handler.name, handler.operation)
    changes = plan(handler, _without_operation(read))
    assert {name: value for name, value in changes.items() if not _is_same_filter(handler, value)} == {}


@pytest.mark.slow
@budget(100)
@given(handlers(), handlers())
def test_a_change_changes_what_was_typed_and_nothing_else(document: dict[str, Any], other: dict[str, Any]) -> None:
    handler, wanted = make_handler(document), make_handler({**other, **FREE, "operation": document["operation"]})
    for name in CHANGED:
        typed = texts_of(handler) | {key: text for key, text in texts_of(wanted).items() if key.split(".")[0] == name}
        read, errors = read_form(typed, handler, NOW)
        assert errors == {}
        changes = plan(handler, read)
        assert changes.keys() <= {name}
        after = rules.public_options(wanted)[name]
        assert _sorted(changes.get(name, rules.public_options(handler)[name])) == _sorted(after)


def _is_same_filter(handler: Handler, value: Any) -> bool:
    return _sorted(value) == _sorted(rules.public_options(handler)["filter"])


def _sorted(value: Any) -> list[str]:
    """Return the filters of a list in one order, which means nothing: all must match."""
    return sorted(map(str, value if isinstance(value, list) else [value]))


def _without_operation(document: Any) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "operation"}
