"""Calls to handlers: evaluation, storing with retries, and the tokens that let callers read the outcome."""

import hashlib
import hmac
import re
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher
from tutumd.application.admission.evaluate import (
    ADMITTED,
    CallInput,
    Verdict,
    VerdictKind,
    evaluate,
    find_closed_reason,
    read_stored,
)
from tutumd.application.admission.fields import DEFAULTS, HandlerOptions
from tutumd.application.admission.filters import find_pushed
from tutumd.application.admission.tags import choose_pushed_tag
from tutumd.application.queries import check_range
from tutumd.errors import (
    NOT_FOUND,
    USED_UP,
    ClosedError,
    InvalidInputError,
    NotFoundError,
    SettingsError,
    UnavailableError,
)
from tutumd.model import MAX_AMOUNT, Call, Evaluation, EvaluationNeeded, HandlerPath, Reference
from tutumd.ports import CallResult, Stored

MAX_WAIT_S = 600

_ATTEMPTS = 3
_AMOUNT = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.ASCII | re.IGNORECASE)
_TOKEN_NUMBERS = struct.Struct(">QQQB")
_MAX_CACHED = 2_000
_MAX_WITHOUT_OPTIONS = 100_000
"""An entry takes about 150 bytes. A call of a handler that is not cached costs a lookup: four times as much time."""
_MAX_AGE_S = 1200.0


class Remembered(NamedTuple):
    """Options of a handler and their version, and the evaluation that most of its calls share, if it is known."""

    options: HandlerOptions
    version: int
    admitted: Evaluation | None = None


StoreCall = Callable[[Call], Awaitable[CallResult]]
EvaluateCall = Callable[[EvaluationNeeded], Awaitable[Call]]


async def accept(
    call: Call, store: StoreCall, evaluator: EvaluateCall, first_result: CallResult | None = None
) -> tuple[Call, Stored]:
    """Evaluate and store a call, and return the stored result.

    The store accepts a call only if it was evaluated with the handler's current options. Otherwise it returns those
    options. So a call is stored on the first attempt if its handler has no options, or if cached options were used and
    still apply. Otherwise the call is evaluated and stored again until the options do not change in between.

    Args:
        evaluator: Returns the call with its evaluation by the given options.
        first_result: Earlier result of `store` or of a lookup for this call; None if there is none.

    Raises:
        NotFoundError: The handler is unknown or cannot be called now.
        InvalidInputError: The call is invalid.
        TooManyCallsError: The rate limit of the handler is exceeded.
        ConflictError: The service cannot be rolled back.
        UnavailableError: The call could not be stored.
    """
    result = first_result or await store(call)
    for _ in range(_ATTEMPTS):
        if not isinstance(result, EvaluationNeeded):
            break
        call = await evaluator(result)
        result = await store(call)
    if isinstance(result, EvaluationNeeded):
        raise UnavailableError("the handler is being changed; try again in a moment")
    if isinstance(result, Exception):
        raise result
    return call, result


def evaluate_call(remembered: Remembered, call_input: CallInput) -> Evaluation:
    """Return the evaluation of a call by its handler's options. The store makes the final decision.

    Raises:
        ClosedError: The handler cannot be called now, or not from this address.
    """
    options, version, admitted = remembered
    verdict = evaluate(options, call_input)
    if verdict.reason and verdict.kind is VerdictKind.NOT_FOUND:
        raise ClosedError(verdict.reason)
    pushed = find_pushed(options.image, call_input.push) if options.image else ()
    if verdict is ADMITTED and admitted and not pushed:
        return admitted
    return _evaluation(options, version, verdict, pushed)


def _evaluation(
    options: HandlerOptions, version: int, verdict: Verdict, pushed: tuple[tuple[str, str], ...] = ()
) -> Evaluation:
    kind, reason = verdict.kind, verdict.reason
    return Evaluation(
        version=version,
        skip=reason if kind is VerdictKind.SKIPPED else None,
        refuse=reason if kind is VerdictKind.UNAUTHORIZED else None,
        invalid=reason.values[0] if reason and kind is VerdictKind.INVALID else "",
        verified=options.verify is not None,
        tag=verdict.tag or (choose_pushed_tag(options.tag, pushed) if pushed else None),
        pushed=pushed,
        variable=verdict.variable,
        revision=verdict.revision,
        notes=verdict.notes,
        max_uses=options.max_uses,
        handler_cap=options.max_containers,
        rate=options.rate_limit,
        debounce_s=options.debounce,
        skip_unchanged=options.skip_unchanged,
        rollback_hold=options.rollback_hold,
        caller=verdict.identity.caller if verdict.identity else None,
        key=verdict.identity.key if verdict.identity else None,
    )


class AdmissionCache:
    """Caches the options of handlers that were called, and reads them again after 20 minutes.

    Cached options may be out of date, so no response rests on them alone: the store compares their version. Each call
    removes expired entries of all handlers, so that a replaced secret does not stay in memory. Handlers without
    options stay until the store does not find them, or until the cache is full. Of the paths of such handlers, only
    the hash is kept.
    """

    def __init__(self, cipher: SecretCipher, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._cipher = cipher
        self._monotonic = monotonic
        self._entries: dict[HandlerPath, tuple[float, Remembered]] = {}  # the oldest first, with their expiry
        self._without_options: dict[int, Remembered] = {}

    def recall(self, path: HandlerPath) -> Remembered | None:
        """Return the options with which to evaluate a call before it is stored; None if the handler must be looked up.

        Handlers with `max_uses` are always looked up: a call to a used-up handler must not cost an HMAC.
        """
        remembered = self._without_options.get(hash(path)) or self._find(path)
        return None if remembered is None or remembered.options.max_uses is not None else remembered

    def read(self, path: HandlerPath, needed: EvaluationNeeded) -> HandlerOptions:
        """Return the options of a handler. Raises SettingsError if the key does not decrypt their secrets."""
        remembered = self._find(path)
        if remembered is not None and remembered.version == needed.version:
            return remembered.options
        self.remove(path)
        options = read_stored(needed.options, self._cipher)
        if needed.options:
            admitted = _evaluation(options, needed.version, ADMITTED)
            is_plain = admitted == Evaluation(version=needed.version, verified=admitted.verified)
            remembered = Remembered(options, needed.version, replace(admitted, is_plain=is_plain))
            self._entries[path] = self._monotonic() + _MAX_AGE_S, remembered
        else:
            if len(self._without_options) >= _MAX_WITHOUT_OPTIONS:
                self._without_options.clear()
            self._without_options[hash(path)] = Remembered(DEFAULTS, needed.version)
        return options

    def remove(self, path: HandlerPath) -> None:
        """Remove a handler and its options, with their secrets."""
        self._entries.pop(path, None)
        self._without_options.pop(hash(path), None)

    def _find(self, path: HandlerPath) -> Remembered | None:
        entries, now = self._entries, self._monotonic()
        while entries and (len(entries) > _MAX_CACHED or next(iter(entries.values()))[0] <= now):
            del entries[next(iter(entries))]
        return entries.get(path, (0.0, None))[1]

    def read_callable(self, path: HandlerPath, needed: EvaluationNeeded, address: str, now: datetime) -> HandlerOptions:
        """Return the options of a handler that can be called.

        This check precedes any inspection of the call's content, so that a handler that cannot be called is refused as
        fast as an unknown handler.

        Raises:
            ClosedError: The handler is disabled, expired, used up, or cannot be called from `address`.
            SettingsError: As `read`, unless ClosedError applies.
        """
        try:
            options = self.read(path, needed)
        except SettingsError:
            _refuse_closed(read_stored(needed.options, PlaceholderCipher()), needed.uses, address, now)
            raise
        _refuse_closed(options, needed.uses, address, now)
        return options


def _refuse_closed(options: HandlerOptions, uses: int, address: str, now: datetime) -> None:
    # The key of an identity token, which may repeat an accepted call, is unknown until the token is checked: then the
    # store decides.
    has_late_key = options.verify is not None and options.verify.preset == "oidc"
    is_used_up = options.max_uses is not None and uses >= options.max_uses and not has_late_key
    closed = USED_UP if is_used_up else find_closed_reason(options, address, now)
    if closed:
        raise ClosedError(closed)


def parse_amount(text: str) -> int:
    """Return the number of containers to add. Raises InvalidInputError."""
    if _AMOUNT.fullmatch(text) and int(text) <= MAX_AMOUNT:
        return int(text)
    raise InvalidInputError(f"amount must be 1 to {MAX_AMOUNT}, got {text[:20]!r}")


def parse_wait(query: str | None, prefer: str) -> int | None:
    """Return how many seconds the caller waits for the end of the action; None if it does not wait.

    Args:
        query: The parameter `wait`; 0 means not to wait.
        prefer: The header `Prefer` (RFC 7240). Unusable values are ignored.

    Raises:
        InvalidInputError: The parameter is not a whole number from 0 to 600.
    """
    if query is not None:
        return check_range("wait (in seconds)", query, 0, MAX_WAIT_S) or None
    match = _PREFER_WAIT.search(prefer)
    return min(int(match[1]), MAX_WAIT_S) or None if match else None


class StatusTokens:
    """Signed references of calls: only the caller that received the response can read the outcome. Nothing is stored.

    All server processes share the secret that signs them.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, reference: Reference) -> str:
        """Return a token of 41 bytes in hexadecimal."""
        content = _TOKEN_NUMBERS.pack(*reference)
        return (content + self._sign(content)).hex()

    def read(self, token: str) -> Reference:
        """Return the reference of a token. Raises NotFoundError for a token that `make` did not create."""
        try:
            raw = bytes.fromhex(token)
        except ValueError:
            raw = b""
        content, signature = raw[: _TOKEN_NUMBERS.size], raw[_TOKEN_NUMBERS.size :]
        if len(content) != _TOKEN_NUMBERS.size or not hmac.compare_digest(signature, self._sign(content)):
            raise NotFoundError(NOT_FOUND)
        return Reference(*_TOKEN_NUMBERS.unpack(content))

    def _sign(self, content: bytes) -> bytes:
        # BLAKE2 with a key is a MAC (RFC 7693). Another algorithm would invalidate the tokens that callers hold.
        return hashlib.blake2b(content, key=self._key, digest_size=16).digest()
