"""Signatures: the vectors that senders publish, and what must not pass."""

import base64
import inspect
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.application.admission.calls import NOW, hex_hmac
from tutumd.application.admission.headers import Headers
from tutumd.application.admission.verify import matches_any, parse_verification, verify
from tutumd.application.calls import StatusTokens
from tutumd.errors import InvalidInputError
from tutumd.web.messages.deliveries import write_reason

BODY = b'{"ref": "refs/heads/main"}'
SECRET = "It's a Secret to Everybody"


def check(fields: Mapping[str, object], headers: Headers, body: bytes = BODY, now: datetime = NOW) -> str | None:
    lower = [(name.lower(), value) for name, value in headers]
    problem = verify(parse_verification(dict(fields)), lower, body, now)
    return problem and write_reason(problem)


class Counted(tuple[str, ...]):
    """Secrets that count how many of them were looked at."""

    looked_at = 0

    def __iter__(self) -> Iterator[str]:
        for secret in super().__iter__():
            self.looked_at += 1
            yield secret


def test_all_secrets_are_compared_whichever_matches() -> None:
    for sent in ("one", "three", "none"):
        secrets = Counted(("one", "two", "three"))
        assert matches_any(sent, secrets) is (sent != "none")
        assert secrets.looked_at == 3


def test_secrets_are_compared_in_constant_time() -> None:
    # No test can measure it: a comparison that stops at the first difference returns the same.
    for compares in (matches_any, StatusTokens.read):
        source = inspect.getsource(compares)
        assert "hmac.compare_digest(" in source
        assert " == " not in source


STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_SENT = 1614265330
STANDARD_BODY = b'{"test": 2432232314}'


def standard(message: str, sent: int, signature: str) -> list[tuple[str, str]]:
    return [("webhook-id", message), ("webhook-timestamp", str(sent)), ("webhook-signature", f"v1,{signature}")]


STANDARD = standard("msg_p5jXN8AQM9LWM0D4loKWxJek", STANDARD_SENT, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
ARRIVAL = datetime.fromtimestamp(STANDARD_SENT, UTC)
SVIX = standard("msg_loFOjxBNrRLzqYUf", 1731705121, "rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=")
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
BITBUCKET = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
PUBLISHED = [
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries, "Testing the validation"
    ("github", SECRET, [("x-hub-signature-256", GITHUB)], b"Hello, World!", NOW),
    # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks, "Examples": without the comma
    ("bitbucket", SECRET, [("X-Hub-Signature", BITBUCKET)], b"Hello World!", NOW),
    # https://github.com/standard-webhooks/standard-webhooks, the libraries' common test vector
    ("standard-webhooks", STANDARD_SECRET, STANDARD, STANDARD_BODY, ARRIVAL),
    ("standard-webhooks", STANDARD_SECRET.removeprefix("whsec_"), STANDARD, STANDARD_BODY, ARRIVAL),
    # https://docs.svix.com/receiving/verifying-payloads/how-manual: what Standard Webhooks came from
    (
        "standard-webhooks",
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        SVIX,
        b'{"event_type":"ping","data":{"success":true}}',
        datetime.fromtimestamp(1731705121, UTC),
    ),
]


@pytest.mark.parametrize(("preset", "secret", "headers", "body", "now"), PUBLISHED)
def test_a_vector_that_a_sender_publishes_is_right_for_these_bytes_alone(
    preset: str, secret: str, headers: Headers, body: bytes, now: datetime
) -> None:
    fields = {"preset": preset, "secrets": [secret]}
    assert check(fields, headers, body, now) is None
    assert check(fields, headers, body + b"\n", now) is not None


@pytest.mark.parametrize("off_s", [-300, 300, 0])
def test_five_minutes_off_are_right(off_s: int) -> None:
    fields = {"preset": "standard-webhooks", "secrets": [STANDARD_SECRET]}
    assert check(fields, STANDARD, STANDARD_BODY, ARRIVAL + timedelta(seconds=off_s)) is None


@pytest.mark.parametrize("off_s", [-301, 301])
def test_more_than_five_minutes_are_not(off_s: int) -> None:
    fields = {"preset": "standard-webhooks", "secrets": [STANDARD_SECRET]}
    assert "5 minutes" in str(check(fields, STANDARD, STANDARD_BODY, ARRIVAL + timedelta(seconds=off_s)))


@pytest.mark.parametrize(
    "signature",
    [
        "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v2,xyz v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,abc",
    ],
)
def test_any_of_several_signatures_will_do(signature: str) -> None:
    headers = [*STANDARD[:2], ("webhook-signature", signature)]
    assert check({"preset": "standard-webhooks", "secrets": [STANDARD_SECRET]}, headers, STANDARD_BODY, ARRIVAL) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA="),
        ("webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ("webhook-signature", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ("webhook-signature", "v1,ä"),
        ("webhook-signature", ""),
        ("webhook-id", "msg_other"),
        ("webhook-id", ""),
        ("webhook-timestamp", "nan"),
        ("webhook-timestamp", "1614265330.5"),
        ("webhook-timestamp", "01614265330"),
        ("webhook-timestamp", "99999999999"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "١٦١٤٢٦٥٣٣٠"),
    ],
)
def test_a_standard_webhook_that_was_changed_is_refused(name: str, value: str) -> None:
    headers = [*(header for header in STANDARD if header[0] != name), (name, value)]
    fields = {"preset": "standard-webhooks", "secrets": [STANDARD_SECRET]}
    assert check(fields, headers, STANDARD_BODY, ARRIVAL)


OLD, BOTH = ["old-token"], ["old-token", STANDARD_SECRET]
BROKEN = [*STANDARD[:2], ("webhook-signature", "v1,AAAA"), ("X-Gitlab-Token", "old-token")]


@pytest.mark.parametrize(
    ("secrets", "headers", "is_right"),
    [
        (OLD, [("X-Gitlab-Token", "old-token")], True),
        (OLD, [("X-Gitlab-Token", "old-token2")], False),
        (OLD, [], False),
        ([STANDARD_SECRET], STANDARD, True),
        ([STANDARD_SECRET], [("X-Gitlab-Token", STANDARD_SECRET)], False),
        (BOTH, [("X-Gitlab-Token", "old-token")], True),
        (BOTH, STANDARD, True),
        (BOTH, BROKEN, False),
    ],
)
def test_gitlab_sends_a_token_or_signs_as_standard_webhooks_do(
    secrets: list[str], headers: Headers, is_right: bool
) -> None:
    problem = check({"preset": "gitlab", "secrets": secrets}, headers, STANDARD_BODY, ARRIVAL)
    assert (problem is None) is is_right


@pytest.mark.parametrize(
    ("own_header", "name", "value", "is_right"),
    [
        ("", "authorization", "bearer s3crét", True),
        ("", "Authorization", "s3crét", False),
        ("", "Authorization", "Basic s3crét", False),
        ("Authorization", "Authorization", "s3crét", True),  # as Harbor sends it
        ("Authorization", "Authorization", "Bearer s3crét", False),
    ],
)
def test_a_token_is_a_bearer_or_in_a_header_of_ones_own(own_header: str, name: str, value: str, is_right: bool) -> None:
    fields = {"preset": "token", "secrets": ["s3crét"]} | ({"header": own_header} if own_header else {})
    raw = value.encode().decode("latin-1")  # as a server decodes a header
    assert (check(fields, [(name, raw)]) is None) is is_right


@pytest.mark.parametrize("preset", ["gitea", "forgejo"])
@pytest.mark.parametrize("senders", [["Gitea"], ["Forgejo"], ["Gitea", "Forgejo"]])
def test_gitea_and_forgejo_sign_in_plain_hex(preset: str, senders: list[str]) -> None:
    fields, signature = {"preset": preset, "secrets": ["s3cret"]}, hex_hmac("s3cret", BODY)
    assert check(fields, [(f"X-{sender}-Signature", signature) for sender in senders]) is None
    assert check(fields, [(f"X-{sender}-Signature", f"sha256={signature}") for sender in senders]) is not None


# RFC 4231 and RFC 2202, test case 2: key "Jefe", data "what do ya want for nothing?"
RFC = {
    "sha1": "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    "sha256": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    "sha384": "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
    "sha512": (
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    ),
}


@pytest.mark.parametrize("algorithm", sorted(RFC))
@pytest.mark.parametrize("prefix", ["", "hmac-"])
def test_the_vectors_of_the_hmac_rfcs(algorithm: str, prefix: str) -> None:
    fields = {"preset": "hmac", "secrets": ["Jefe"], "header": "X-Sign", "algorithm": algorithm, "prefix": prefix}
    body = b"what do ya want for nothing?"
    assert check(fields, [("x-sign", prefix + RFC[algorithm])], body) is None
    assert check(fields, [("x-sign", prefix + RFC[algorithm].upper())], body) is None
    encoded = base64.b64encode(bytes.fromhex(RFC[algorithm])).decode()
    assert check({**fields, "encoding": "base64"}, [("x-sign", prefix + encoded)], body) is None
    assert check(fields, [("x-sign", prefix + encoded)], body) is not None
    assert check(fields, [("x-sign", prefix + RFC[algorithm][:-1])], body) is not None


@pytest.mark.parametrize("preset", ["github", "gitea", "bitbucket"])
def test_either_of_two_secrets_will_do_while_they_change(preset: str) -> None:
    prefix = "" if preset == "gitea" else "sha256="
    header = {"github": "X-Hub-Signature-256", "gitea": "X-Gitea-Signature", "bitbucket": "X-Hub-Signature"}[preset]
    fields = {"preset": preset, "secrets": ["new", "old"]}
    for secret, problem in (("new", None), ("old", None), ("other", f"{header} does not match the body")):
        assert check(fields, [(header, prefix + hex_hmac(secret, BODY))]) == problem


@pytest.mark.parametrize("values", [["x", "x"], ["good", "good"], ["good", "bad"]])
def test_a_signature_that_is_there_twice_is_refused(values: list[str]) -> None:
    good = "sha256=" + hex_hmac("s3cret", BODY)
    headers = [("X-Hub-Signature-256", value.replace("good", good)) for value in values]
    assert "2 times" in str(check({"preset": "github", "secrets": ["s3cret"]}, headers))


@pytest.mark.parametrize(
    "given", ["", "sha256=", "sha256=ä", "sha256= ", "x" * 100_000, "sha256=" + "\0" * 64, "sha1=00"]
)
def test_odd_signatures_are_refused(given: str) -> None:
    assert check({"preset": "github", "secrets": ["s3cret"]}, [("X-Hub-Signature-256", given)])


def test_no_reason_holds_the_secret_or_the_signature() -> None:
    good = hex_hmac("s3cret", BODY)
    for fields in (
        {"preset": "github", "secrets": ["s3cret"]},
        {"preset": "gitlab", "secrets": ["s3cret"]},
        {"preset": "token", "secrets": ["s3cret"]},
    ):
        headers = [
            ("X-Hub-Signature-256", "sha256=" + good[::-1]),
            ("X-Gitlab-Token", "guess"),
            ("Authorization", "x guess"),
        ]
        reason = str(check(fields, headers))
        assert not any(secret in reason for secret in ("s3cret", good, good[::-1], "guess"))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"preset": "github"}, "secrets must hold"),
        ({"preset": "github", "secrets": []}, "1 to 5"),
        ({"preset": "github", "secrets": [""]}, "printable"),
        ({"preset": "github", "secrets": ["  "]}, "printable"),
        ({"preset": "github", "secrets": ["ok", ""]}, "printable"),
        ({"preset": "github", "secrets": [1]}, "printable"),
        ({"preset": "github", "secrets": ["a\nb"]}, "printable"),
        ({"preset": "github", "secrets": ["\ud800"]}, "printable"),
        ({"preset": "github", "secrets": ["a"] * 6}, "1 to 5"),
        ({"preset": "github", "secrets": ["a"], "header": "X"}, "no field 'header'"),
        ({"preset": "svn", "secrets": ["a"]}, "standard-webhooks"),
        ({"secrets": ["a"]}, "verify.preset"),
        ("github", "object"),
        ({"preset": "hmac", "secrets": ["a"]}, "verify.header"),
        ({"preset": "hmac", "secrets": ["a"], "header": "a b"}, "verify.header"),
        ({"preset": "hmac", "secrets": ["a"], "header": "X", "algorithm": "md5"}, "sha256"),
        ({"preset": "hmac", "secrets": ["a"], "header": "X", "encoding": "binary"}, "base64"),
        ({"preset": "standard-webhooks", "secrets": ["whsec_"]}, "whsec_"),
        ({"preset": "standard-webhooks", "secrets": ["whsec_not base64!"]}, "whsec_"),
        ({"preset": "gitlab", "secrets": ["whsec_äö"]}, "whsec_"),
    ],
)
def test_what_cannot_be_verified_with_is_refused_when_it_is_saved(fields: object, text: str) -> None:
    with pytest.raises(InvalidInputError, match=text):
        parse_verification(fields)
