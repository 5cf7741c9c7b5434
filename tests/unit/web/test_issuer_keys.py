"""The keys of issuers in a web process: which key a token gets, and when keys are requested."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWK
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.waiting import wait_until
from tutumd.application.admission.identity import IssuerKind, KeyFault
from tutumd.errors import UnavailableError
from tutumd.model.issuers import IssuerKeys
from tutumd.ports import Store
from tutumd.web.call.issuer_keys import RELOAD_S, KeyCache, read_keys

URL, OTHER = "https://id.example.com", "https://other.example.com"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RSA_KEY = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65_537, 2048).public_key()))
EC_KEY = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
OKP_KEY = json.loads(OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key()))


def key_set(*names: str) -> str:
    return json.dumps({"keys": [EC_KEY | {"kid": name} for name in names]})


class Bed:
    """A store with one issuer, a notifier that fetches at once or never, and a cache."""

    def __init__(
        self, names: tuple[str, ...] | None, *, next_names: tuple[str, ...] | None = None, wait_s: float = 0.0
    ) -> None:
        self.now, self.seconds = NOW, 0.0
        self.row = None if names is None else self.fetched(*names)
        self.next_names = next_names
        self.is_away = False
        self.fetch_at_read, self.error = 0, ""
        self.reads = self.wants = 0
        self.cache = KeyCache(
            cast(Store, self), lambda: self.now, {URL: IssuerKind.OTHER}, monotonic=lambda: self.seconds, wait_s=wait_s
        )

    def fetched(self, *names: str) -> IssuerKeys:
        return IssuerKeys(url=URL, keys=key_set(*names), fetched=self.now, tried=self.now, error="")

    def issuer_keys(self, url: str) -> IssuerKeys | None:
        if self.is_away:
            raise UnavailableError("the database is away")
        self.reads += 1
        self.seconds += 1
        if self.reads == self.fetch_at_read:
            self.row = replace(self.fetched("a"), fetched=None, error=self.error) if self.error else self.fetched("a")
        return self.row if url == URL else None

    def want_keys(self, url: str) -> None:
        self.wants += 1
        if self.next_names is not None:
            self.now += timedelta(seconds=1)
            self.row = self.fetched(*self.next_names)

    def move(self, seconds: float) -> None:
        self.now, self.seconds = self.now + timedelta(seconds=seconds), self.seconds + seconds

    async def find(self, kid: str) -> str:
        """Return the `kid` or the fault that a call finds."""
        for _ in range(2):
            if isinstance(self.cache.find(URL, kid), KeyFault):
                await self.cache.refreshed(URL)
        found = self.cache.find(URL, kid)
        return found.value if isinstance(found, KeyFault) else found.key_id or ""


async def test_keys_are_read_from_the_store_without_a_request() -> None:
    bed = Bed(("a", "b"))
    assert [await bed.find("a"), await bed.find("b")] == ["a", "b"]
    assert (bed.reads, bed.wants) == (1, 0)


async def test_a_new_key_is_requested() -> None:
    bed = Bed(("a",), next_names=("b",))
    assert [await bed.find("a"), await bed.find("b"), await bed.find("a")] == ["a", "b", "unknown-kid"]
    assert bed.wants == 1


async def test_the_first_keys_are_requested() -> None:
    bed = Bed(None, next_names=("a",))
    assert await bed.find("a") == "a"


async def test_calls_wait_until_the_first_fetch_ends() -> None:
    bed = Bed(None, wait_s=2.0)
    bed.fetch_at_read = 10  # a notifier that starts with the first handler takes longer than the wait of one call
    assert [await bed.find("a"), bed.wants] == ["missing-keys", 1]
    assert [await bed.find("a"), bed.wants] == ["a", 1]


async def test_calls_do_not_wait_after_a_failed_fetch() -> None:
    bed = Bed(None, wait_s=100.0)
    bed.fetch_at_read, bed.error = 3, "it is off"
    assert await bed.find("a") == "missing-keys"
    assert bed.reads <= 5


async def test_a_thousand_unknown_kids_cause_one_request_per_minute() -> None:
    bed = Bed(("a",))
    await bed.find("a")
    found = await asyncio.gather(*(bed.find(f"k{number}") for number in range(1_000)))
    assert set(found) == {"unknown-kid"}
    assert bed.wants == 1
    assert bed.reads < 20
    bed.move(61)
    await bed.find("x")
    assert bed.wants == 2


async def test_keys_of_24_hours_still_count() -> None:
    bed = Bed(("a",))
    await bed.find("a")
    bed.move(24 * 3600)
    assert await bed.find("a") == "a"
    bed.move(1)
    assert await bed.find("a") == "missing-keys"


async def test_another_process_may_have_fetched_the_keys() -> None:
    bed = Bed(("a",))
    await bed.find("a")
    bed.move(RELOAD_S)
    bed.row = bed.fetched("b")
    assert await bed.find("b") == "b"
    assert bed.wants == 0


async def test_keys_are_read_again_in_the_background() -> None:
    bed = Bed(("a",))
    await bed.find("a")
    bed.move(RELOAD_S + 1)
    bed.row = bed.fetched("b")
    assert isinstance(bed.cache.find(URL, "a"), PyJWK)
    wait_until(lambda: bed.cache.find(URL, "a") is KeyFault.UNKNOWN_KID, "the new keys")
    assert bed.reads == 2


async def test_without_a_database_the_old_keys_stay() -> None:
    bed = Bed(("a",))
    await bed.find("a")
    bed.is_away = True
    assert await bed.find("b") == "unknown-kid"
    bed.move(RELOAD_S + 1)
    assert await bed.find("a") == "a"


async def test_an_issuer_that_the_server_no_longer_allows_has_no_keys() -> None:
    bed = Bed(("a",))
    assert bed.cache.find(OTHER, "a") is KeyFault.FORBIDDEN_ISSUER


async def test_a_caller_that_gives_up_leaves_the_others_their_answer() -> None:
    bed = Bed(None, next_names=("a",))
    first, second = (asyncio.ensure_future(bed.find("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "a"


@pytest.mark.parametrize(("names", "found"), [(("a",), "a"), (("a", "b"), "unknown-kid")])
async def test_a_token_without_kid_needs_the_only_key(names: tuple[str, ...], found: str) -> None:
    assert await Bed(names).find("") == found


def test_unusable_keys_are_left_out() -> None:
    usable = {"rsa": RSA_KEY, "ec": EC_KEY, "okp": OKP_KEY, "psa": RSA_KEY | {"alg": "PS384"}}
    others = {
        "symmetric": {"kty": "oct", "k": "AAAA"},
        "HMAC": RSA_KEY | {"alg": "HS256"},
        "none": RSA_KEY | {"alg": "none"},
        "for encryption": RSA_KEY | {"alg": "RSA-OAEP"},
        "list": RSA_KEY | {"alg": ["RS256"]},
        "encryption": RSA_KEY | {"use": "enc"},
        "private": RSA_KEY | {"d": "AQAB"},
        "number": RSA_KEY | {"n": 5},
        "curve": EC_KEY | {"crv": "P-999"},
        "empty": {},
    }
    entries = [key | {"kid": kid} for kid, key in (usable | others).items()]
    found = read_keys(json.dumps({"keys": [*entries, None, "text", [1]]}))
    assert {kid: key.algorithm_name for kid, key in found.items()} == {
        "rsa": "RS256",
        "ec": "ES256",
        "okp": "EdDSA",
        "psa": "PS384",
    }
