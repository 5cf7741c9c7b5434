"""The content of a delivery for people: laid out, and the same to the letter."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.unit.application.made_deliveries import delivery_of
from tutumd.errors import Reason
from tutumd.model import DeliveryOutcome, Operation
from tutumd.web.messages.deliveries import (
    MAX_DEPTH,
    OUTCOMES,
    DeliveryText,
    describe_reason,
    describe_wish,
    hides_url,
    indent_json,
    lay_out,
    read_delivery_text,
)


@pytest.mark.parametrize(
    ("text", "indented"),
    [
        ('{"a":1,"a":[1,2]}', '{\n  "a": 1,\n  "a": [\n    1,\n    2\n  ]\n}'),
        ('{ "e" : { } , "f":[ ]}', '{\n  "e": {},\n  "f": []\n}'),
        ('{"n":1.0000000000000000001}', '{\n  "n": 1.0000000000000000001\n}'),
        ('["{\\"a\\": [1,2]}", "\\\\"]', '[\n  "{\\"a\\": [1,2]}",\n  "\\\\"\n]'),
        ('{"cut":{"text":"with a \\', '{\n  "cut": {\n    "text": "with a \\'),
        ('["line\u2028",\n"é"]', '[\n  "line\u2028",\n  "é"\n]'),
        ("}]", "\n}\n]"),
    ],
)
def test_json_is_indented_and_stays_to_the_letter(text: str, indented: str) -> None:
    assert indent_json(text) == indented


@pytest.mark.parametrize("name", ["a", 'x"y', "é\u202e", "</script>"])
def test_indented_json_means_the_same(name: str) -> None:
    document = {name: [{}, [], [name, {"b": None}], 1.5, True, ""]}
    for text in (json.dumps(document), json.dumps(document, indent=7, ensure_ascii=False)):
        assert json.loads(indent_json(text)) == document
        assert re.sub(r"\s", "", indent_json(text)) == re.sub(r"\s", "", text)


def test_json_nested_too_deep_is_shown_as_it_is() -> None:
    deep, deeper = "[" * MAX_DEPTH, "[" * 16_000
    assert len(indent_json(deep)) > len(deep)
    assert indent_json(deeper) == deeper
    assert lay_out(deeper, "") == ("text", deeper)


@pytest.mark.parametrize(
    ("text", "media_type", "kind", "body"),
    [
        ('{"a": 1}', "application/x-www-form-urlencoded", "JSON", '{\n  "a": 1\n}'),
        ("{not json", "application/json", "text", "{not json"),
        ("a=%7B%22b%22%3A1%7D&c=x+y", "application/x-www-form-urlencoded", "form", 'a = {\n  "b": 1\n}\nc = x y'),
        ("no form", "application/x-www-form-urlencoded", "text", "no form"),
        ("a=1", "text/plain", "text", "a=1"),
        ("  ", "application/json", "", "  "),
    ],
)
def test_a_body_is_laid_out_by_what_it_is(text: str, media_type: str, kind: str, body: str) -> None:
    assert lay_out(text, media_type) == (kind, body)


def test_a_delivery_is_shown_whole() -> None:
    content = {
        "headers": [["content-type", "application/json"], ["x-a", "<b>"]],
        "query": "tag=v1&empty=" + "&a" * 3000,
        "body": '{"a":"cut',
        "is_cut": True,
        "left_out": ["header x-secret"],
    }
    text = read_delivery_text(content)
    assert (text.headers, text.kind, text.body) == (
        (("content-type", "application/json"), ("x-a", "<b>")),
        "JSON",
        '{\n  "a": "cut',
    )
    assert text.query[:2] == (("tag", "v1"), ("empty", ""))
    assert text.notes == ("Not stored: header x-secret.", "Only the first 16 KiB of the body are stored.")


def test_a_binary_body_is_shown_as_hexadecimal() -> None:
    raw = bytes(range(18))
    text = read_delivery_text({"body": base64.b64encode(raw).decode(), "is_base64": True})
    assert (text.kind, text.body) == (
        "binary",
        "000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f\n000010  10 11",
    )


def test_a_refused_delivery_says_that_nothing_is_stored() -> None:
    content = {"is_cut": True, "left_out": ["headers, query and body: the call was refused"]}
    assert not read_delivery_text(content).is_stored
    assert read_delivery_text(content) == DeliveryText(
        headers=(), query=(), body="", kind="", notes=("Not stored: headers, query and body: the call was refused.",)
    )


def test_every_outcome_has_a_sentence() -> None:
    assert OUTCOMES.keys() == set(DeliveryOutcome)


def test_a_repeated_delivery_names_the_action_of_the_one_that_it_repeats() -> None:
    uuid = "25aabee6-5c0a-4927-8301-fed93029fef2"
    repeated, skipped = delivery_of("repeated", Reason("repeated", (uuid,))), delivery_of("skipped", Reason("ping"))
    assert (describe_reason(repeated), repeated.repeats) == ("it repeats an earlier delivery", uuid)
    assert (describe_reason(skipped), skipped.repeats) == ("it is a ping", "")


def test_what_was_asked_for_is_told() -> None:
    assert describe_wish(delivery_of("queued", amount=3), Operation.SCALEUP) == "3 more"
    assert describe_wish(delivery_of("queued", amount=3, tag="v2"), Operation.REDEPLOY) == "tag v2"
    assert describe_wish(delivery_of("queued"), Operation.REDEPLOY) == ""


@pytest.mark.parametrize(
    "url", ["{}/handler/{}/call/", "{}\\/handler\\/{}\\/call", "{}%2Fhandler%2F{}%2Fcall", "{}\\u002fHANDLER\\u002F{}"]
)
def test_the_url_of_a_handler_is_hidden(url: str) -> None:
    uuid = "0f1e2d3c-4b5a-4678-9abc-def012345678"
    url = url.format("https://tutum.example/webhook", uuid)
    shown = read_delivery_text(
        {
            "headers": [["x-original-uri", url], ["content-type", "application/json"]],
            "query": f"from={url}",
            "body": f'{{"hook": {{"config": {{"url": "{url}"}}}}}}',
        }
    )
    assert "example" in shown.body
    cut = read_delivery_text({"body": '{"url": "/handler/0f1e2d3c-4b5a-4678-9abc-def01234567', "is_cut": True})
    assert "0f1e2d3c" not in str(shown) + cut.body


UUID = "7eaf7fff-882c-4f3d-9a8f-a22317ac00ce"
URL = f"https://hooks.example.com/api/v1/service/61a29874-9134-48f9-b460-f37d4bec4826/webhook/handler/{UUID}/call/"


def escape(text: str, form: str) -> str:
    """Write each character in a form, such as `%{:02x}`."""
    return "".join(form.format(ord(char)) for char in text)


ENCODED = {
    "escaped slashes": json.dumps({"url": URL}).replace("/", "\\/"),
    "escaped twice": json.dumps(json.dumps({"url": URL}).replace("/", "\\/")),
    "letters escaped": json.dumps({"url": URL.replace("handler", "ha\\u006edler")}).replace("\\\\", "\\"),
    "digits escaped": escape(URL, "\\u00{:02x}"),
    "bytes escaped": escape(URL, "\\x{:02x}"),
    "upper case": URL.upper(),
    "alone": f'{{"uuid": "{UUID}"}}',
    "without dashes": UUID.replace("-", "").upper(),
    "other separators": UUID.replace("-", "\u2010"),
    "invisible separators": "\u200b".join(UUID),
    "dashes escaped": URL.replace("-", "%2D"),
    "percent": escape(URL, "%{:02X}"),
    "percent twice": escape(URL, "%25{:02x}"),
    "percent four times": escape(URL, "%25252525{:02x}"),
    "entities": escape(URL, "&#{};"),
    "hexadecimal entities": escape(URL, "&#x{:x};"),
    "base64": base64.b64encode(f"see {URL}".encode()).decode(),
    "base64 twice": base64.b64encode(base64.b64encode(URL.encode())).decode(),
    "base64 in a parameter": "a=" + base64.b64encode(URL.encode()).decode().replace("/", "%2F").replace("+", "%2B"),
}


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("place", ["body", "form", "query", "header", "user agent", "reason"])
def test_a_handlers_url_is_hidden_however_it_is_written(name: str, place: str) -> None:
    text = ENCODED[name]
    form = f"payload={quote_plus(text)}"
    content: dict[str, object] = {"headers": [["x-a", text if place == "header" else "b"]], "body": "", "query": ""}
    content |= {"body": {"body": text, "form": form}.get(place, "{}"), "query": form if place == "query" else ""}
    of_agent: dict[str, Any] = {"user_agent": text} if place == "user agent" else {}
    reasons = [Reason("tag-not-allowed", (text,))] if place == "reason" else []
    delivery = delivery_of("skipped", *reasons, content=content, **of_agent)
    shown = read_delivery_text(content)
    is_left_out = (
        not place.startswith(("user", "reason")) and UUID[:8] not in repr(shown).lower() and "…" in repr(shown)
    )
    assert is_left_out or hides_url(delivery, shown, UUID)


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"hook": {"url": URL}}),
        json.dumps({"sha": "7eaf7fff882c4f3d9a8fa22317ac00cf" * 2, "id": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}),
        '{"message": "100%, \\\\path \\u00e4 =7e &amp; %zz", "data": "' + base64.b64encode(b"a" * 300).decode() + '"}',
        "",
    ],
)
def test_everything_else_is_shown(body: str) -> None:
    text = read_delivery_text(
        {"body": body, "headers": [["x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"]]}
    )
    assert not hides_url(delivery_of("queued"), text, UUID)


def test_a_binary_body_may_have_anything_in_it() -> None:
    text = read_delivery_text({"body": base64.b64encode(URL.encode("utf-16")).decode(), "is_base64": True})
    assert hides_url(delivery_of("queued"), text, UUID)
