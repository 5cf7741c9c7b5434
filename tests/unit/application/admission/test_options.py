"""Handler options: parsed, written for the API, stored and read back."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from tests.unit.application.admission.calls import NOW, options_of
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.evaluate import (
    check_operation,
    parse_options,
    read_stored,
    write_public,
    write_stored,
)
from tutumd.application.admission.fields import DEFAULTS, FIELDS, HandlerOptions, write_rate
from tutumd.application.admission.filters import Filter
from tutumd.application.admission.tags import TagRule
from tutumd.application.admission.verify import Verification
from tutumd.errors import InvalidInputError
from tutumd.model import Operation

CIPHER = SecretCipher([make_key()])

ALL: dict[str, object] = {
    "enabled": False,
    "expires_datetime": "2026-02-01T12:00:00+01:00",
    "max_uses": 3,
    "max_containers": 10,
    "verify": {
        "preset": "hmac",
        "secrets": ["s3cret", "older"],
        "header": "X-Sign",
        "algorithm": "sha512",
        "prefix": "v=",
    },
    "filter": [{"preset": "branch", "branch": ["main"]}, {"preset": "paths", "paths": ["src/**"]}, "body.ok"],
    "tag": {"allow": ["v*"], "from": "body.push_data.tag"},
    "pass_body": "TUTUM_PAYLOAD",
    "rate_limit": "30/minute",
    "allow_from": ["10.0.0.0/8", "2001:db8::/32"],
    "debounce": 5,
    "skip_unchanged": False,
    "rollback_hold": False,
    "show_log": True,
}


def test_all_fields_are_read() -> None:
    assert ALL.keys() == FIELDS.keys()
    assert parse_options(ALL, NOW) == HandlerOptions(
        enabled=False,
        expires_datetime=datetime(2026, 2, 1, 11, tzinfo=UTC),
        max_uses=3,
        max_containers=10,
        verify=Verification(
            preset="hmac", secrets=("s3cret", "older"), header="X-Sign", algorithm="sha512", encoding="hex", prefix="v="
        ),
        filter=(
            Filter(kind="branch", patterns=("main",)),
            Filter(kind="paths", patterns=("src/**",)),
            Filter(kind="expression", patterns=("body.ok",)),
        ),
        tag=TagRule(allow=("v*",), source="body.push_data.tag"),
        pass_body="TUTUM_PAYLOAD",
        rate_limit=(30, 60),
        allow_from=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
        debounce=5,
        skip_unchanged=False,
        rollback_hold=False,
        show_log=True,
    )


def test_nothing_is_set_on_a_handler_as_the_spec_makes_it() -> None:
    assert parse_options({}, NOW) == DEFAULTS
    assert write_stored(DEFAULTS, CIPHER) == {}
    assert read_stored({}, CIPHER) is DEFAULTS


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_null_resets_a_field_and_absence_leaves_it(name: str) -> None:
    everything = parse_options(ALL, NOW)
    reset = parse_options({name: None}, NOW, everything)
    only = parse_options({name: ALL[name]}, NOW)
    assert parse_options({}, NOW, everything) == everything
    assert reset != everything
    assert parse_options({name: ALL[name]}, NOW, reset) == everything
    assert parse_options({name: None}, NOW, only) == DEFAULTS


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_stored_options_are_read_back(name: str) -> None:
    for options in (parse_options(ALL, NOW), parse_options({name: ALL[name]}, NOW)):
        stored = json.loads(json.dumps(write_stored(options, CIPHER)))
        assert read_stored(stored, CIPHER) == options


@pytest.mark.parametrize(
    "value",
    [
        "body.a",
        {"preset": "branch", "branch": "main"},
        {"preset": "branch", "branch": ["a", "b"]},
        {"preset": "tag", "tag": "v*", "repository": "me/app"},
        {"preset": "paths", "paths": ["src/**"]},
        {"preset": "skip", "marker": "[no]"},
        ["body.a", {"preset": "skip", "marker": "[skip deploy]"}],
    ],
)
def test_a_filter_is_shown_as_it_was_given(value: object) -> None:
    assert write_public(options_of(filter=value))["filter"] == value


def test_secrets_are_never_shown_and_stored_sealed() -> None:
    options = parse_options(ALL, NOW)
    shown = write_public(options)
    assert shown["verify"] == {
        "preset": "hmac",
        "header": "X-Sign",
        "algorithm": "sha512",
        "encoding": "hex",
        "prefix": "v=",
        "secrets_set": 2,
    }
    assert shown["expires_datetime"] == "2026-02-01T11:00:00Z"
    assert shown.keys() == FIELDS.keys()
    for text in (json.dumps(shown), json.dumps(write_stored(options, CIPHER)), repr(options)):
        assert "s3cret" not in text
        assert "older" not in text


def test_secrets_that_are_not_given_stay() -> None:
    stored = options_of(verify={"preset": "gitea", "secrets": ["a", "b"]})
    changed = parse_options({"verify": {"preset": "forgejo"}}, NOW, stored)
    assert changed.verify == Verification(preset="forgejo", secrets=("a", "b"))
    with pytest.raises(InvalidInputError, match="whsec_"):
        parse_options(
            {"verify": {"preset": "standard-webhooks"}}, NOW, options_of(verify={"preset": "gitea", "secrets": ["!"]})
        )


def test_other_fields_of_an_expired_handler_can_be_changed() -> None:
    expired = replace(DEFAULTS, expires_datetime=NOW - timedelta(days=1))
    assert parse_options({"show_log": True}, NOW, expired) == replace(expired, show_log=True)
    assert read_stored(write_stored(expired, CIPHER), CIPHER) == expired


def test_a_body_is_passed_under_the_name_that_tutum_gave_it() -> None:
    assert options_of(pass_body=True).pass_body == "TUTUM_TRIGGER_BODY"
    assert options_of(pass_body=False) == DEFAULTS


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("colour", "red", "unknown field 'colour': known are name, operation, enabled, expires_datetime"),
        ("expires", "2026-02-01", r"unknown field 'expires': did you mean expires_datetime\?"),
        ("enabled", 1, "true or false"),
        ("expires_datetime", "soon", "2015-10-13T11:01:43Z"),
        ("expires_datetime", 5, "must be a text"),
        ("expires_datetime", "2025-12-31T00:00:00Z", "in the future"),
        ("max_uses", 0, "from 1 to"),
        ("max_uses", True, "from 1 to"),
        ("max_containers", 10**30, "from 1 to"),
        ("debounce", 3601, "from 0 to 3600"),
        ("verify", [], "object"),
        ("filter", 5, "JMESPath"),
        ("tag", "v*", "object"),
        ("tag", {}, "tag.allow"),
        ("tag", {"allow": ["v*"], "from": "push_data.tag"}, "write body.push_data"),
        ("tag", {"allow": ["v*"], "to": "x"}, "no field 'to'"),
        ("pass_body", "PATH", "TUTUM_NAME"),
        ("pass_body", "TUTUM_A=B", "TUTUM_NAME"),
        ("pass_body", 1, "TUTUM_NAME"),
        ("rate_limit", "30", "30/minute"),
        ("rate_limit", "0/minute", "30/minute"),
        ("rate_limit", "30/fortnight", "30/minute"),
        ("rate_limit", "٣/minute", "30/minute"),
        ("allow_from", [], "1 to 50"),
        ("allow_from", ["10.0.0.1/8"], "did you mean 10.0.0.0/8"),
        ("allow_from", ["2001:db8::1/32"], "did you mean 2001:db8::/32"),
        ("allow_from", ["example.com"], "networks such as"),
        ("allow_from", [""], "allow_from"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(field: str, value: object, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        parse_options({field: value}, NOW)


@pytest.mark.parametrize(
    ("text", "count", "seconds"), [("1/second", 1, 1), ("30/minute", 30, 60), ("5/hour", 5, 3600), ("9/day", 9, 86_400)]
)
def test_rates(text: str, count: int, seconds: int) -> None:
    rate = options_of(rate_limit=text).rate_limit
    assert rate == (count, seconds)
    assert rate is not None and write_rate(rate) == text


def test_a_field_without_effect_is_refused() -> None:
    check_operation(options_of(tag={"allow": ["*"]}, pass_body=True), Operation.REDEPLOY)
    check_operation(options_of(max_containers=5), Operation.SCALEUP)
    for fields, operation in (
        ({"tag": {"allow": ["*"]}}, Operation.SCALEUP),
        ({"pass_body": True}, Operation.SCALEUP),
        ({"max_containers": 5}, Operation.REDEPLOY),
    ):
        with pytest.raises(InvalidInputError, match="is for handlers with the operation"):
            check_operation(parse_options(fields, NOW), operation)


def test_a_date_that_is_none_in_utc_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="9999 of UTC"):
        parse_options({"expires_datetime": "9999-12-31T23:59:59-14:00"}, NOW)


def test_a_date_that_has_passed_can_be_sent_again_but_not_set() -> None:
    stored = replace(DEFAULTS, expires_datetime=NOW - timedelta(days=1, microseconds=5))
    shown = write_public(stored)["expires_datetime"]
    assert parse_options({"expires_datetime": shown}, NOW, stored).expires_datetime is not None
    with pytest.raises(InvalidInputError, match="future"):
        parse_options({"expires_datetime": shown}, NOW)
