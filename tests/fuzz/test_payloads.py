"""Bodies, filters and options from strangers: read or refused, without another error, and read the same again."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tests.unit.application.admission.calls import NAMES, NOW, PAYLOADS, received
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.evaluate import (
    VerdictKind,
    evaluate,
    explain,
    parse_options,
    read_stored,
    write_public,
    write_stored,
)
from tutumd.application.admission.expressions import Budget
from tutumd.application.admission.fields import FIELDS
from tutumd.application.admission.filters import matches, matches_path, parse_filters, write_filters
from tutumd.application.admission.json_checks import is_shallow
from tutumd.application.admission.payloads import find_skip_reason, parse_body, read_push
from tutumd.application.admission.redact import redact_call
from tutumd.errors import InvalidInputError

RECORDED: list[dict[str, Any]] = [json.loads((PAYLOADS / f"{name}.json").read_text()) for name in NAMES]
Sent = tuple[list[tuple[str, str]], Any]
BODY = st.binary(max_size=200) | st.text(max_size=60).map(str.encode)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["X-GitHub-Event", "X-Gitlab-Event", "X-Event-Key", "Content-Type", "A"]),
        st.sampled_from(["push", "ping", "delete", "package", "Push Hook", "application/x-www-form-urlencoded"])
        | st.text(max_size=10),
    ),
    max_size=4,
)
GLOB = st.text("ab*?[]!-/.", min_size=1, max_size=8).filter(str.strip)


@st.composite
def damaged(draw: st.DrawFn) -> Sent:
    """Return headers and body of a recorded call in which some values are replaced or gone."""
    recorded = draw(st.sampled_from(RECORDED))
    body = json.loads(json.dumps(recorded["body"]))
    for _ in range(draw(st.integers(1, 4))):
        node, steps = body, draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
        for step in steps[:-1]:
            inner = list(node.values()) if isinstance(node, dict) else node
            inner = [each for each in inner if isinstance(each, dict | list) and each]
            if not inner:
                break
            node = inner[step % len(inner)]
        if not node:
            continue
        key: Any = sorted(node)[steps[-1] % len(node)] if isinstance(node, dict) else steps[-1] % len(node)
        if draw(st.booleans()):
            node[key] = draw(VALUES)
        else:
            del node[key]
    return list(recorded["headers"].items()), body


@budget(200)
@given(damaged(), HEADERS)
def test_a_payload_with_wrong_values_is_read(call: Sent, more: list[tuple[str, str]]) -> None:
    headers, body = [*more, *call[0]], call[1]
    find_skip_reason(headers, body)
    push = read_push(headers, body)
    assert all(isinstance(part, str) for pair in push.tags for part in pair)
    assert all(isinstance(part, str) for part in (*push.branches, *(push.paths or ()), push.message, push.event))


@budget(150)
@given(
    st.binary(max_size=200)
    | st.text(max_size=60).map(str.encode)
    | VALUES.map(lambda value: json.dumps(value).encode()),
    HEADERS,
)
def test_any_body_is_read_or_is_nothing(body: bytes, headers: list[tuple[str, str]]) -> None:
    kind = next((value for name, value in headers if name == "Content-Type"), "")
    document = parse_body(body, kind)
    assert is_shallow(document)
    read_push(headers, document)


PARTS = ("preset", "secrets", "allow", "from", "branch", "paths", "marker", "header", "prefix")


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
@budget(40)
@given(st.data())
def test_any_value_of_a_field_is_taken_or_refused_in_words(name: str, data: st.DataObject) -> None:
    like = st.just(FIELDS[name].example) | st.dictionaries(st.sampled_from(PARTS), VALUES, max_size=3)
    value = data.draw(VALUES | like)
    try:
        options = parse_options({name: value}, NOW)
    except InvalidInputError as error:
        assert str(error)
        return
    cipher = SecretCipher([make_key()])
    stored = json.loads(json.dumps(write_stored(options, cipher)))
    assert read_stored(stored, cipher) == options
    assert parse_options({k: v for k, v in write_public(options).items() if k != "verify"}, NOW) == parse_options(
        {} if name == "verify" else {name: value}, NOW
    )


@budget(200)
@given(
    st.lists(
        st.one_of(
            st.fixed_dictionaries(
                {"preset": st.just("branch"), "branch": GLOB | st.lists(GLOB, min_size=1, max_size=3)}
            ),
            st.fixed_dictionaries({"preset": st.just("paths"), "paths": st.lists(GLOB, min_size=1, max_size=3)}),
            st.fixed_dictionaries({"preset": st.just("tag"), "tag": GLOB}, optional={"repository": GLOB}),
            st.fixed_dictionaries({"preset": st.just("skip")}, optional={"marker": GLOB}),
            st.sampled_from(["body.ref == 'x'"]),
        ),
        min_size=1,
        max_size=1,
    ),
    damaged(),
)
def test_filters_decide_about_any_payload(filters: list[Any], call: Sent) -> None:
    parsed = parse_filters(filters)
    assert parse_filters(write_filters(parsed)) == parsed
    options = parse_options({"filter": filters}, NOW)
    made = received(json.dumps(call[1]).encode(), call[0])
    verdict = evaluate(options, made)
    trial = explain(options, made)
    assert trial.verdict == verdict
    assert all(result.passes for result in trial.checks) is (verdict.kind is VerdictKind.GO)


@budget(150)
@given(st.text("ab/.", max_size=12), GLOB)
def test_globs_of_paths_agree_with_a_search(path: str, glob: str) -> None:
    assert matches_path(path, glob, Budget()) == search(path.split("/"), glob.split("/"))


def search(parts: list[str], globs: list[str]) -> bool:
    """Return whether a path matches, by trying everything."""
    if not globs:
        return not parts
    if globs[0] == "**":
        return any(search(parts[skipped:], globs[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and matches(parts[0], globs[0], Budget()) and search(parts[1:], globs[1:])


SECRET = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=8, max_size=20)


@budget(150)
@given(st.data(), SECRET)
def test_no_secret_of_the_handler_is_stored(data: st.DataObject, secret: str) -> None:
    around = st.tuples(st.text("xyz &=", max_size=5), st.text("xyz &=", max_size=5)).map(secret.join)
    options = parse_options({"verify": {"preset": "token", "secrets": [secret]}}, NOW)
    headers = data.draw(st.lists(st.tuples(st.sampled_from(["A", "Via", "Authorization"]), around), max_size=3))
    query = data.draw(st.lists(st.tuples(st.sampled_from(["a", "token"]) | around, around), max_size=3))
    body = data.draw(around).encode()
    stored = redact_call(headers, query, body, options.verify)
    assert secret not in texts_of(stored)


def texts_of(stored: dict[str, Any]) -> str:
    """Return all texts of what is stored, as they are, and with the query decoded."""
    query = stored.get("query", "")
    texts = [text for pair in [*stored["headers"], *parse_qsl(query)] for text in pair]
    return "\n".join([*texts, query, stored["body"], *stored.get("left_out", ())])
