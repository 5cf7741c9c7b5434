"""The field `verify` with the preset `oidc`: what users may set, and what is stored and shown."""

from typing import Any

import pytest

from tests.unit.application.admission.calls import NOW, options_of
from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher, make_key
from tutumd.application.admission.evaluate import parse_options, read_stored, write_public, write_stored
from tutumd.errors import InvalidInputError

CIPHER = SecretCipher([make_key()])
OIDC: dict[str, Any] = {
    "preset": "oidc",
    "issuer": "GitHub",
    "claims": {"repository": "me/shop, me/site", "ref": ["*"]},
}
SHOWN = {
    "preset": "oidc",
    "issuer": "https://token.actions.githubusercontent.com",
    "claims": {"repository": ["me/shop", "me/site"], "ref": ["*"]},
}


@pytest.mark.parametrize("audience", [None, "https://tutum.example.com"])
def test_settings_survive_the_store_and_what_is_shown_can_be_sent_again(audience: str | None) -> None:
    options = options_of(verify={**OIDC, "audience": audience})
    more = {"audience": audience} if audience else {}
    stored = write_stored(options, CIPHER)
    assert stored == {"verify": {**SHOWN, **more, "secrets": []}}
    assert read_stored(stored, CIPHER) == read_stored(stored, PlaceholderCipher()) == options
    shown = write_public(options)["verify"]
    assert shown == {**SHOWN, **more, "secrets_set": 0}
    del shown["secrets_set"]
    assert parse_options({"verify": shown}, NOW, options) == options


def test_issuers_have_names_or_urls() -> None:
    for given, url in (("gitlab", "https://gitlab.com"), ("https://git.example/api/actions",) * 2):
        verify = options_of(verify={**OIDC, "issuer": given}).verify
        assert verify and verify.issuer == url


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"issuer": None}, "verify.issuer must be a text, got None"),
        ({"issuer": "https://" + "x" * 300}, "verify.issuer must have 1 to 255 characters"),
        ({"audience": ["a"]}, "verify.audience must be a text"),
        ({"claims": None}, 'verify.claims must be an object with 1 to 20 claims, such as {"repository": "me/shop"}'),
        ({"claims": {}}, "verify.claims must be an object with 1 to 20 claims"),
        ({"claims": {f"c{number}": "x" for number in range(21)}}, "verify.claims must be an object with 1 to 20"),
        ({"claims": {"repository": []}}, "verify.claims.repository must be a list of 1 to 50 texts"),
        ({"claims": {"repository": 7}}, "verify.claims.repository must be a list of 1 to 50 texts"),
        ({"claims": {"repository": ["x" * 2000]}}, "verify.claims.repository must have 1 to 200 characters, got 2000"),
        ({"claims": {"": "x"}}, "the name of a claim must have 1 to 100 characters"),
        ({"claims": {"a\0": "x"}}, "the name of a claim must not contain NUL characters"),
        ({"secrets": ["s"]}, "verify with the preset oidc has no secrets: the issuer signs the tokens"),
        ({"header": "X-Token"}, "verify with the preset oidc has no field 'header'"),
        ({"preset": "github"}, "verify with the preset github has no field 'issuer'"),
    ],
)
def test_bad_settings_are_refused_by_name(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        options_of(verify={**OIDC, **changed})
    assert text in str(raised.value)


def test_the_secrets_of_another_preset_are_dropped_and_needed_again() -> None:
    signed = options_of(verify={"preset": "github", "secrets": ["a secret"]})
    oidc = parse_options({"verify": OIDC}, NOW, signed)
    assert oidc.verify and oidc.verify.secrets == ()
    with pytest.raises(InvalidInputError, match="must be a list of 1 to 5 texts"):
        parse_options({"verify": {"preset": "github"}}, NOW, oidc)
