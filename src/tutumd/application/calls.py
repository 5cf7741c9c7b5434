"""A call to a handler's URL, as far as it is decided without the store, and what its holder may see of the action."""

import hashlib
import hmac
import os
import re
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher
from tutumd.application.admission.evaluate import Admitted, Hidden, Received, Skipped, evaluate, is_shut
from tutumd.application.admission.fields import HandlerOptions
from tutumd.application.admission.options import read_stored
from tutumd.errors import NOT_FOUND, InvalidInputError, NotFoundError, SettingsError
from tutumd.model import MAX_AMOUNT, Evaluation, EvaluationNeeded

MAX_WAIT_S = 600

_AMOUNT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_WAIT = re.compile(r"[0-9]{1,4}", re.ASCII)
_PREFERRED = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.ASCII | re.IGNORECASE)
_NONCE = 6
_FACTS = struct.Struct(f">QQ{_NONCE}s")
_TAG = 16
_MOST_KNOWN = 2_000


class AdmissionCache:
    """The options of handlers, read from what is stored once for each version of them."""

    def __init__(self, cipher: SecretCipher) -> None:
        """Take what opens stored secrets."""
        self._box = cipher
        self._known: dict[tuple[str, int], HandlerOptions] = {}

    def read(self, handler_uuid: str, version: int, document: Mapping[str, Any]) -> HandlerOptions:
        """Read options. Raises SettingsError where the key does not open their secrets."""
        key = (handler_uuid, version)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[key] = read_stored(document, self._box)
        return found

    def read_open(self, handler_uuid: str, needed: EvaluationNeeded, address: str, now: datetime) -> HandlerOptions:
        """Read the options of a handler that a call can be let in to.

        Raises:
            NotFoundError: As `check_open`, also where the key does not open the secrets.
            SettingsError: As `read`.
        """
        try:
            options = self.read(handler_uuid, needed.version, needed.options)
        except SettingsError:
            check_open(read_stored(needed.options, PlaceholderCipher()), needed.uses, address, now)
            raise
        check_open(options, needed.uses, address, now)
        return options


def check_open(options: HandlerOptions, uses: int, address: str, now: datetime) -> None:
    """Refuse a call that cannot be let in, as soon as it would be if there were no such handler.

    Args:
        uses: How many calls the handler accepted already. The store looks again when it takes one more.

    Raises:
        NotFoundError: The handler cannot be called now, not any more, or not from there.
    """
    if is_shut(options, address, now) or (options.max_uses is not None and uses >= options.max_uses):
        raise NotFoundError(NOT_FOUND)


def evaluation(options: HandlerOptions, version: int, received: Received) -> Evaluation:
    """Evaluate a call by its handler's options.

    Raises:
        NotFoundError: The handler cannot be called now, or from there.
        InvalidInputError: `?tag=` is wrong or not taken.
    """
    verdict = evaluate(options, received)
    if isinstance(verdict, Hidden):
        raise NotFoundError(NOT_FOUND)
    kept: dict[str, Any] = {
        "version": version,
        "max_uses": options.max_uses,
        "handler_cap": options.max_containers,
        "rate": None if options.rate_limit is None else (options.rate_limit.count, options.rate_limit.seconds),
        "debounce_s": options.debounce,
    }
    if isinstance(verdict, Admitted):
        return Evaluation(tag=verdict.tag, variable=verdict.variable, notes=verdict.notes, **kept)
    if isinstance(verdict, Skipped):
        return Evaluation(skip=verdict.reason, **kept)
    return Evaluation(refuse=verdict.reason, **kept)


def parse_amount(text: str) -> int:
    """Read the number of containers to add, without spending time on a long one."""
    if _AMOUNT.fullmatch(text) and int(text) <= MAX_AMOUNT:
        return int(text)
    raise InvalidInputError(f"amount must be 1 to {MAX_AMOUNT}, got {text[:20]!r}")


def parse_wait(query: str | None, preferred: str) -> int | None:
    """Read how many seconds a caller wants to wait for the end; None for not at all.

    Args:
        query: The parameter `wait`; 0 means not at all.
        preferred: The header `Prefer` (RFC 7240); what cannot be done of it is ignored, as that says.

    Raises:
        InvalidInputError: The parameter is no whole number from 0 to 600.
    """
    if query is not None:
        if _WAIT.fullmatch(query) and int(query) <= MAX_WAIT_S:
            return int(query) or None
        raise InvalidInputError(f"wait must be whole seconds from 0 to {MAX_WAIT_S}, got {query[:20]!r}")
    found = _PREFERRED.search(preferred)
    return min(int(found[1]), MAX_WAIT_S) or None if found else None


class StatusTokens:
    """Names for what one delivery came to, that only who got the answer of the call can know. Nothing is stored."""

    def __init__(self, key: bytes) -> None:
        """Take a secret that is the same in all processes that answer."""
        self._key = key

    def make(self, handler_seq: int, action_seq: int) -> str:
        """Make a ticket: 38 bytes in hexadecimal."""
        facts = _FACTS.pack(handler_seq, action_seq, os.urandom(_NONCE))
        return (facts + self._sign(facts)).hex()

    def read(self, ticket: str) -> tuple[int, int]:
        """Read a handler's and an action's number. Raises NotFoundError for what was not made here."""
        try:
            raw = bytes.fromhex(ticket)
        except ValueError:
            raw = b""
        facts = raw[: _FACTS.size]
        if len(raw) != _FACTS.size + _TAG or not hmac.compare_digest(raw[_FACTS.size :], self._sign(facts)):
            raise NotFoundError(NOT_FOUND)
        handler_seq, action_seq, _ = _FACTS.unpack(facts)
        return handler_seq, action_seq

    def _sign(self, facts: bytes) -> bytes:
        # BLAKE2 with a key is a MAC (RFC 7693), and takes a third of the time of HMAC.
        return hashlib.blake2b(facts, key=self._key, digest_size=_TAG).digest()
