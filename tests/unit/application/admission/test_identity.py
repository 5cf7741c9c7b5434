"""Identity tokens: what is accepted, what it says, and forgeries, each with the check that refuses it."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import der_to_raw_signature

from tests.support.identity_tokens import (
    AUDIENCE,
    ISSUER,
    NOW,
    IssuerKeys,
    claims_of,
    join,
    private_key,
    public_jwk,
    sign,
)
from tests.support.work import work_of
from tutumd.application.admission.identity import ALGORITHMS, MAX_TOKEN, Identity, KeyFault, check_token, read_caller
from tutumd.application.admission.verify import Verification, parse_verification
from tutumd.errors import Reason
from tutumd.web.messages.deliveries import write_reason, write_refusal

RECORDED = Path(__file__).parents[1] / "tokens"
VERIFY = parse_verification({"preset": "oidc", "issuer": "github", "claims": {"repository": "me/*", "ref": "refs/*"}})


def check(token: str, verification: Verification = VERIFY, now: datetime = NOW, keys: Any = None) -> Identity | Reason:
    return check_token(token, verification, AUDIENCE, now, (keys or IssuerKeys()).find)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_every_algorithm_is_accepted(algorithm: str) -> None:
    identity = check(sign(claims_of(), algorithm), keys=IssuerKeys(public_jwk(algorithm)))
    assert isinstance(identity, Identity)
    assert identity.key == "oidc:a8d1"
    assert identity.revision == "1f0d4a3c9e6b2d85c7a0f4e1b3d6a9c2e5f80714"
    assert str(identity.caller) == "me/shop@main, run 123, by ada"


@pytest.mark.parametrize(
    ("name", "who", "workflow"),
    [
        ("github", "octo-org/octo-repo@main, run 8213, by octocat", "octo-org/octo-repo/.github/workflows/deploy.yml"),
        (
            "github-immutable-sub",
            "octo-org/octo-repo@main, run 8213, by octocat",
            "octo-org/octo-repo/.github/workflows/deploy.yml",
        ),
        (
            "gitlab",
            "my-group/my-project@feature-branch-1, run 574, by sample-user",
            "gitlab.example.com/my-group/my-project//.gitlab-ci.yml",
        ),
        ("forgejo", "me/shop@main, run 57, by ada", "me/shop/.forgejo/workflows/deploy.yml"),
    ],
)
def test_the_claims_of_forges_say_who_called(name: str, who: str, workflow: str) -> None:
    claims = json.loads((RECORDED / f"{name}.json").read_text())
    project = "project_path" if name == "gitlab" else "repository"
    verification = parse_verification(
        {"preset": "oidc", "issuer": claims["iss"], "audience": claims["aud"], "claims": {project: claims[project]}}
    )
    identity = check(sign(claims), verification, keys=IssuerKeys(url=claims["iss"]))
    assert isinstance(identity, Identity)
    assert str(identity.caller) == who
    assert identity.caller.workflow.split("@")[0] == workflow
    assert identity.revision == identity.caller.sha == claims["sha"]


def test_a_caller_without_repository_is_its_subject_without_control_characters() -> None:
    caller = read_caller({"sub": "robot\n\0\ud800 7", "run_id": 12, "sha": "main"})
    assert (caller.repository, caller.run, str(caller)) == ("robot 7", "12", "robot 7, run 12")
    assert len(read_caller({"sub": "x" * 5000}).repository) == 200


def test_only_the_owner_learns_the_values() -> None:
    reason = check(sign(claims_of(repository="you/secret-project")))
    assert isinstance(reason, Reason)
    assert write_refusal(reason) == "the claim repository of the identity token does not match"
    assert write_reason(reason).endswith("does not match: it is 'you/secret-project', not 'me/*'")


PUBLIC_PEM = private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HEADER = {"alg": "RS256", "kid": "RS256", "typ": "JWT"}
VALID = sign(claims_of())
BY_HMAC = sign(claims_of(), "HS256", b"k" * 64, kid="RS256")


def at(**seconds: float) -> str:
    """Return a token with times relative to now."""
    return sign(claims_of() | {name: int(NOW.timestamp()) + number for name, number in seconds.items()})


def with_header(**header: Any) -> str:
    """Return a token whose header has more, signed by the issuer's key."""
    return sign(claims_of(), **header)


FORGERIES = {
    "empty": ("", "malformed"),
    "two parts": (VALID.rpartition(".")[0], "malformed"),
    "three parts without a signature": (VALID.rpartition(".")[0] + ".", "malformed"),
    "four parts": (f"{VALID}.x", "malformed"),
    "padding": (f"{VALID}=", "malformed"),
    "line end": (f"{VALID}\n", "malformed"),
    "not base64": (VALID.replace(".", ".!", 1), "malformed"),
    "header is no JSON": (join(b"{", claims_of()), "malformed"),
    "header is a list": (join([HEADER], claims_of()), "malformed"),
    "payload is a text": (join(HEADER, "me/shop"), "malformed"),
    "payload is not UTF-8": (join(HEADER, b'{"iss": "\xff"}'), "malformed"),
    "payload of many levels": (join(HEADER, b'{"iss":' + b"[" * 5000 + b"]" * 5000 + b"}"), "malformed"),
    "number of many digits": (join(HEADER, b'{"exp":' + b"9" * 5000 + b"}"), "malformed"),
    "too long": (sign(claims_of(extra="x" * MAX_TOKEN)), "too-long"),
    "none": (join({**HEADER, "alg": "none"}, claims_of()), "algorithm"),
    "None": (join({**HEADER, "alg": "None"}, claims_of()), "algorithm"),
    "no algorithm": (join({"kid": "RS256"}, claims_of()), "algorithm"),
    "list of algorithms": (join({**HEADER, "alg": ["RS256"]}, claims_of()), "algorithm"),
    "the RSA key as HMAC secret": (BY_HMAC, "algorithm"),
    "HS512": (sign(claims_of(), "HS512", b"k" * 64, kid="RS256"), "algorithm"),
    "jku": (with_header(jku="https://evil.example.com/keys"), "header"),
    "x5u": (with_header(x5u="https://evil.example.com/chain"), "header"),
    "jwk": (with_header(jwk=public_jwk("ES256")), "header"),
    "crit": (join({**HEADER, "crit": ["b64"], "b64": False}, claims_of()), "header"),
    "key ID is a number": (join({**HEADER, "kid": 7}, claims_of()), "key-id"),
    "key ID is long": (join({**HEADER, "kid": "k" * 201}, claims_of()), "key-id"),
    "other issuer": (sign(claims_of(iss="https://gitlab.com")), "issuer"),
    "issuer with a slash": (sign(claims_of(iss=f"{ISSUER}/")), "issuer"),
    "no issuer": (join(HEADER, claims_of(iss=None)), "issuer"),
    "list of issuers": (join(HEADER, claims_of(iss=[ISSUER])), "issuer"),
    "other audience": (sign(claims_of(aud="https://github.com/me")), "audience"),
    "audience with a path": (sign(claims_of(aud=f"{AUDIENCE}/")), "audience"),
    "no audience": (sign(claims_of(aud=None)), "audience"),
    "list of audiences": (sign(claims_of(aud=[AUDIENCE, "https://evil.example.com"])), "audience"),
    "list of another audience": (sign(claims_of(aud=["https://evil.example.com"])), "audience"),
    "list in a list": (sign(claims_of(aud=[[AUDIENCE]])), "audience"),
    "other repository": (sign(claims_of(repository="you/shop")), "claim"),
    "repository of another case": (sign(claims_of(repository="Me/shop")), "claim"),
    "no repository": (sign(claims_of(repository=None)), "claim"),
    "empty repository": (sign(claims_of(repository="")), "claim"),
    "list of repositories": (sign(claims_of(repository=["me/shop"])), "claim"),
    "long repository": (sign(claims_of(repository="me/" + "x" * 5000)), "claim"),
    "other ref": (sign(claims_of(ref="main")), "claim"),
    "pull request": (sign(claims_of(event_name="pull_request")), "event"),
    "pull request with secrets": (sign(claims_of(event_name="pull_request_target")), "event"),
    "expired": (at(iat=-400, exp=-61), "expired"),
    "issued a day ago": (at(iat=-86_400 + 120 - 1, exp=-1), "expired"),
    "issued in the future": (at(iat=61), "too-early"),
    "valid in the future": (at(nbf=61), "too-early"),
    "valid for two days": (at(exp=2 * 86_400), "lifetime"),
    "valid forever": (at(exp=5e9), "lifetime"),
    "no exp": (sign(claims_of(exp=None)), "times-malformed"),
    "no iat": (sign(claims_of(iat=None)), "times-malformed"),
    "exp is a text": (join(HEADER, claims_of(exp="2030-01-01")), "times-malformed"),
    "exp is a flag": (join(HEADER, claims_of(exp=True)), "times-malformed"),
    "exp is infinite": (join(HEADER, claims_of(exp=float("inf"))), "times-malformed"),
    "iat is not a number": (join(HEADER, claims_of(iat=float("nan"))), "times-malformed"),
    "nbf is negative": (join(HEADER, claims_of(nbf=-1)), "times-malformed"),
    "unknown key": (sign(claims_of(), kid="other"), "unknown-kid"),
    "key ID is a path": (sign(claims_of(), kid="../../../../dev/null"), "unknown-kid"),
    "key ID is SQL": (sign(claims_of(), kid="' OR 1=1 --"), "unknown-kid"),
    "other key": (sign(claims_of(), "RS256", private_key("RS384")), "signature"),
    "no signature": (join(HEADER, claims_of()), "signature"),
    "changed claim": (
        ".".join((VALID.split(".")[0], join({}, claims_of(sub="x")).split(".")[1], VALID.split(".")[2])),
        "signature",
    ),
    "algorithm of another key type": (sign(claims_of(), "ES256", kid="RS256"), "signature"),
    "other algorithm of the key": (sign(claims_of(), "PS256", private_key(), kid="RS256"), "signature"),
    "payload is detached": (join({**HEADER, "b64": False}, claims_of()), "signature"),
}


@pytest.mark.parametrize(("token", "failed"), FORGERIES.values(), ids=FORGERIES)
def test_forgeries_are_refused_by_the_first_check_that_fails(token: str, failed: str) -> None:
    keys = IssuerKeys()
    reason = check(token, keys=keys)
    assert isinstance(reason, Reason)
    assert reason.code == f"token-{failed}"
    assert token not in write_reason(reason) or not token
    assert keys.asked == (failed in ("unknown-kid", "signature")), "cheap checks come before the keys"


def test_the_public_key_is_no_hmac_secret() -> None:
    # PyJWT itself refuses to sign with it, so the token is made by hand.
    signed = join({**HEADER, "alg": "HS256"}, claims_of()).rpartition(".")[0]
    digest = hmac.digest(PUBLIC_PEM, signed.encode(), hashlib.sha256)
    forged = f"{signed}.{join({}, {}, digest).rpartition('.')[2]}"
    assert check(forged) == Reason("token-algorithm", ("'HS256'",))


@pytest.mark.parametrize("fault", KeyFault)
def test_every_fault_of_a_key_has_a_sentence(fault: KeyFault) -> None:
    class Faulty(IssuerKeys):
        def find(self, url: str, kid: str) -> KeyFault:
            return fault

    reason = check(VALID, keys=Faulty())
    assert isinstance(reason, Reason)
    assert ISSUER in write_reason(reason)
    assert ISSUER not in write_refusal(reason)
    assert reason.values[-1] == ISSUER


def test_symmetric_and_short_keys_of_an_issuer_verify_nothing() -> None:
    secret = {"kty": "oct", "kid": "RS256", "k": "c2VjcmV0" * 8, "alg": "HS256"}
    assert isinstance(check(VALID, keys=IssuerKeys(secret)), Reason)
    assert isinstance(check(sign(claims_of(), "HS256", b"k" * 64, kid="RS256"), keys=IssuerKeys(secret)), Reason)


def test_times_have_a_leeway_of_a_minute_and_a_token_lives_less_than_its_key() -> None:
    token = at(iat=0, nbf=0, exp=86_400)
    accepted = [-61, -60, 0, 86_400 - 120, 86_400 - 119]
    results = [isinstance(check(token, now=NOW + timedelta(seconds=number)), Identity) for number in accepted]
    assert results == [False, True, True, True, False]
    token = at(iat=0, exp=300)
    assert isinstance(check(token, now=NOW + timedelta(seconds=360)), Identity)
    assert isinstance(check(token, now=NOW + timedelta(seconds=361)), Reason)


def test_pull_requests_and_other_values_count_if_claims_name_them() -> None:
    fields = {"preset": "oidc", "issuer": "github"}
    named = parse_verification({**fields, "claims": {"repository_id": "74", "event_name": "pull_request"}})
    assert isinstance(check(sign(claims_of(event_name="pull_request")), named), Identity)
    flags = parse_verification({**fields, "claims": {"repository_id": "74", "is_fork": "false"}})
    assert isinstance(check(sign(claims_of(is_fork=False, repository_id=74)), flags), Identity)
    anything = parse_verification({**fields, "claims": {"repository_id": "74", "environment": "*"}})
    assert isinstance(check(sign(claims_of()), anything), Reason), "a missing claim matches nothing"


def test_the_audience_may_be_in_a_list_without_others() -> None:
    assert isinstance(check(sign(claims_of(aud=[AUDIENCE]))), Identity)


def test_without_an_audience_no_token_is_accepted() -> None:
    for aud in ("", None, AUDIENCE):
        assert check_token(sign(claims_of(aud=aud)), VERIFY, "", NOW, IssuerKeys().find) == Reason("token-no-audience")


def test_the_key_of_a_token_without_id_survives_another_signature() -> None:
    token, keys = sign(claims_of(jti=None), "ES256"), IssuerKeys(public_jwk("ES256"))
    signed, _, signature = token.rpartition(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    other = der_to_raw_signature(encode_dss_signature(r, order - s), ec.SECP256R1())
    again = f"{signed}.{join({}, {}, other).rpartition('.')[2]}"
    first, second = check(token, keys=keys), check(again, keys=keys)
    assert isinstance(first, Identity)
    assert isinstance(second, Identity)
    assert again != token
    assert first.key == second.key
    assert first.key.startswith("oidc:sha256:")


def test_a_long_token_id_is_hashed() -> None:
    for jti in ("x" * 5000, "é"):
        identity = check(sign(claims_of(jti=jti)))
        assert isinstance(identity, Identity)
        assert identity.key.startswith("oidc:sha256:")
        assert len(identity.key) <= 200


def test_a_foreign_token_costs_hardly_more_than_reading_it() -> None:
    keys = IssuerKeys()
    hostile = parse_verification({"preset": "oidc", "issuer": "github", "claims": {"repository": "me/" + "*a" * 90}})
    for verification, repository, limit in ((VERIFY, "you/shop", 3), (hostile, "me/" + "a" * 900 + "b", 10)):
        token = sign(claims_of(repository=repository, filler=[0] * 3000))
        assert isinstance(check(token, verification, keys=keys), Reason)
        assert work_of(partial(check, token, verification, keys=keys), rounds=20) < limit
    assert keys.asked == 0
