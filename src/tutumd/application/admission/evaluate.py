"""Options of handlers as JSON, and the evaluation of a call by them: whether it is admitted, whether it counts, and
what it carries.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property, partial
from typing import Any, TypeGuard

from tutumd.application.admission.encryption import PlaceholderCipher, SecretCipher
from tutumd.application.admission.expressions import Budget
from tutumd.application.admission.fields import DEFAULTS, FIELDS, HandlerField, HandlerOptions
from tutumd.application.admission.filters import decide
from tutumd.application.admission.headers import Headers, allows, as_document, find_all
from tutumd.application.admission.identity import Identity, KeyLookup, check_token
from tutumd.application.admission.json_checks import quote, suggest
from tutumd.application.admission.payloads import Push, find_revision, find_skip_reason, parse_body, read_push
from tutumd.application.admission.tags import QUERY, choose_tag
from tutumd.application.admission.verify import PRESETS, Verification, find_bearer, verify
from tutumd.errors import InvalidInputError, Reason, about
from tutumd.model import Operation


def parse_options(document: Mapping[str, object], now: datetime, stored: HandlerOptions = DEFAULTS) -> HandlerOptions:
    """Return the options after a user's request to create or change a handler.

    Args:
        document: A JSON object, of which `name` and `operation` are ignored. null resets a field to its default.
        stored: The options before the change. Absent fields keep these values.

    Raises:
        InvalidInputError: A field is unknown, or a value is wrong.
    """
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("name", "operation"):
            continue
        field = FIELDS.get(name)
        if field is None:
            raise InvalidInputError(f"unknown field {quote(name)}: {suggest(name, ('name', 'operation', *FIELDS))}")
        if name == "verify" and stored.verify and needs_secrets(value):
            value = {**value, "secrets": list(stored.verify.secrets)}
        with about(name):
            changes[name] = field.default if value is None else field.parse(value)
    expires = changes.get("expires_datetime")
    # A request may repeat the handler's stored date: the API shows dates to the second only.
    is_new = _to_the_second(expires) != _to_the_second(stored.expires_datetime)
    if expires is not None and is_new and expires <= now:
        raise InvalidInputError("expires_datetime must lie in the future: to end the URL now, set enabled to false")
    return replace(stored, **changes)


def needs_secrets(verify: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value of `verify` leaves the stored secrets as they are."""
    return isinstance(verify, dict) and verify.get("secrets") is None and verify.get("preset") != "oidc"


def check_operation(options: HandlerOptions, operation: Operation) -> None:
    """Raise InvalidInputError if a field is set that has no effect on handlers with this operation."""
    for field, _ in _set_fields(options):
        if field.operation not in (None, operation):
            raise InvalidInputError(
                f"{field.name} is for handlers with the operation {field.operation}, and this one does {operation}"
            )


def write_public(options: HandlerOptions) -> dict[str, Any]:
    """Return all fields for the API, without secrets."""
    defaults = {name: field.json_default for name, field in FIELDS.items()}
    return defaults | {field.name: (field.show or field.write)(value) for field, value in _set_fields(options)}


def write_stored(options: HandlerOptions, cipher: SecretCipher) -> dict[str, Any]:
    """Return the fields that differ from the defaults for the store; secrets are encrypted."""
    document = {field.name: field.write(value) for field, value in _set_fields(options)}
    if options.verify is not None:
        document["verify"]["secrets"] = [cipher.encrypt(secret) for secret in options.verify.secrets]
    return document


def read_stored(document: Mapping[str, Any], cipher: SecretCipher | PlaceholderCipher) -> HandlerOptions:
    """Return the options that `write_stored` has written. Raises SettingsError if the cipher cannot decrypt the
    secrets.
    """
    if not document:
        return DEFAULTS
    attributes: dict[str, Any] = {}
    for name, value in document.items():
        if name == "verify":
            value = {**value, "secrets": [cipher.decrypt(secret) for secret in value["secrets"]]}
        attributes[name] = FIELDS[name].parse(value) if name in FIELDS else value
    return HandlerOptions(**attributes)


def _to_the_second(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(microsecond=0)


def _set_fields(options: HandlerOptions) -> list[tuple[HandlerField, Any]]:
    """Return the fields that differ from the defaults, with their values."""
    values = [(field, getattr(options, field.name)) for field in FIELDS.values()]
    return [(field, value) for field, value in values if value != field.default]


MAX_QUICK_BYTES = 32 * 1024
"""Longest body that is verified without a thread. A ping is found in it about as fast as the call is stored."""
MAX_VARIABLE_BYTES = 32 * 1024
MAX_QUICK_PARAMETERS = 500  # length of a query that is redacted without a thread


class VerdictKind(StrEnum):
    """Kinds of verdicts, as the API names them."""

    GO = "go"  # the call is admitted and counts
    SKIPPED = "skipped"  # the call is admitted and does nothing
    UNAUTHORIZED = "unauthorized"  # the call does not come from its sender
    NOT_FOUND = "not_found"  # it cannot be called now, or not from this address. Only the owner sees the reason
    INVALID = "invalid"  # the call names a tag that is malformed or not allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision about a call.

    Attributes:
        reason: Why the call does not count, without any secret; None if it counts. The other attributes apply to calls
            that count.
        tag: Image tag to deploy; None for the service's own.
        variable: Name and value of the variable for the new containers; the value None removes it.
        revision: Commit that was pushed, if the handler verifies its sender; None: the payload or token names none.
        identity: What the token of a call says; None: the handler requires none.
        notes: Sentences for the caller.
    """

    kind: VerdictKind = VerdictKind.GO
    reason: Reason | None = None
    tag: str | None = None
    variable: tuple[str, str | None] | None = None
    revision: str | None = None
    identity: Identity | None = None
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check. If `verdict` is set, the check stops the call. A token that passes has an `identity`."""

    check: str
    why: tuple[Reason, ...]
    verdict: Verdict | None = None
    passes: bool = True
    identity: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The predicted effect of a call.

    Attributes:
        notes: Parts that could not be checked, with the reason.
    """

    checks: Sequence[CheckResult]
    verdict: Verdict
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class CallInput:
    """Content of a call as received, and its circumstances.

    Attributes:
        address: The client's address.
        find_key: Finds the keys of the issuers of identity tokens; None: all are missing.
        audience: Audience of identity tokens, unless the handler names one.
    """

    headers: Headers
    query: Sequence[tuple[str, str]]
    body: bytes
    address: str
    now: datetime
    find_key: KeyLookup | None = None
    audience: str = ""

    @cached_property
    def payload(self) -> Any:
        """The body as a JSON value; None if it is not JSON."""
        return parse_body(self.body, "".join(find_all(self.headers, "content-type")[:1]))

    @cached_property
    def push(self) -> Push:
        """The push that the payload describes."""
        return read_push(self.headers, self.payload)

    def document(self, options: HandlerOptions) -> dict[str, Any]:
        """Return the document that expressions read. The last of repeated query parameters counts."""
        return {
            "body": self.payload,
            "headers": as_document(self.headers, options.verify.header if options.verify else ""),
            "query": dict(self.query),
        }


def is_heavy(options: HandlerOptions, call: CallInput) -> bool:
    """Return whether an evaluation may need a thread: a hostile body can take half a second."""
    reads_deeply = options.filter or (options.tag and options.tag.source != QUERY)
    is_parsed = options.verify or options.image
    is_long = (is_parsed and len(call.body) > MAX_QUICK_BYTES) or len(call.query) > MAX_QUICK_PARAMETERS
    return bool(reads_deeply or is_long)


def find_closed_reason(options: HandlerOptions, address: str, now: datetime) -> Reason | None:
    """Return why the handler cannot be called now or from this address, whatever the call contains; None if it can."""
    return next((result.verdict.reason for result in _check_access(options, address, now) if result.verdict), None)


def evaluate(options: HandlerOptions, call: CallInput) -> Verdict:
    """Return the verdict on a call. Takes about 0.2 ms; with a hostile body up to half a second."""
    identity = None
    for result in _check(options, call):
        if result.verdict is not None:
            return replace(result.verdict, identity=identity)
        identity = result.identity or identity
    return _admit(options, call, identity)


def explain(options: HandlerOptions, call: CallInput) -> Trial:
    """Return the verdict on the call and the results of all checks, including those after a failed check."""
    results = list(_check(options, call))
    verdict = _admit(options, call, next((result.identity for result in results if result.identity), None))
    if verdict.reason:
        results.append(_fail("tag", verdict.kind, verdict.reason))
    elif options.tag is not None:
        results.append(_pass("tag", Reason("tag-chosen", (verdict.tag,)) if verdict.tag else Reason("no-tag")))
    if not verdict.reason and options.pass_body is not None:
        results.append(
            CheckResult(
                "pass_body",
                verdict.notes or (Reason("body-passed", (options.pass_body,)),),
                passes=not verdict.notes,
            )
        )
    first_failed = (result.verdict for result in results if result.verdict is not None)
    return Trial(checks=results, verdict=next(first_failed, verdict))


def _pass(check: str, why: Reason) -> CheckResult:
    return CheckResult(check, (why,))


def _fail(check: str, kind: VerdictKind, reason: Reason, *why: Reason) -> CheckResult:
    return CheckResult(check, why or (reason,), Verdict(kind=kind, reason=reason), passes=False)


# Built once: most calls pass these checks.
_SENDER_RIGHT = {preset: _pass("verify", Reason("sender-right", (preset,))) for preset in PRESETS}
_IS_EVENT = _pass("event", Reason("is-event"))
ADMITTED = Verdict()
"""The verdict on most calls: no tag, no variable, no commit."""


def _check_access(options: HandlerOptions, address: str, now: datetime) -> Iterator[CheckResult]:
    if not options.enabled:
        yield _fail("enabled", VerdictKind.NOT_FOUND, Reason("disabled"), Reason("is-disabled"))
    if options.expires_datetime is not None:
        if now < options.expires_datetime:
            yield _pass("expires_datetime", Reason("not-expired"))
        else:
            yield _fail("expires_datetime", VerdictKind.NOT_FOUND, Reason("expired"), Reason("has-expired"))
    if options.allow_from:
        if allows(options.allow_from, address):
            yield _pass("allow_from", Reason("address-allowed", (address,)))
        else:
            yield _fail(
                "allow_from",
                VerdictKind.NOT_FOUND,
                Reason("address-not-allowed", (address or "an unknown address",)),
            )


def _check(options: HandlerOptions, call: CallInput) -> Iterator[CheckResult]:
    yield from _check_access(options, call.address, call.now)
    if options.verify is not None:
        found = _check_sender(options.verify, call)
        if isinstance(found, Reason):
            yield _fail("verify", VerdictKind.UNAUTHORIZED, found)
        else:
            passed = _SENDER_RIGHT[options.verify.preset]
            yield replace(passed, identity=found) if found else passed
    if options.reads_payload:
        skip = find_skip_reason(call.headers, call.payload)
        yield _fail("event", VerdictKind.SKIPPED, skip) if skip else _IS_EVENT
    if options.filter:
        document, budget = call.document(options), Budget()
        decisions = [decide(condition, call.push, document, budget) for condition in options.filter]
        misses = [decision.why for decision in decisions if not decision.passes]
        if misses:
            yield _fail("filter", VerdictKind.SKIPPED, misses[0], *misses)
        else:
            yield CheckResult("filter", tuple(decision.why for decision in decisions))


def _check_sender(verification: Verification, call: CallInput) -> Identity | Reason | None:
    """Return the reason if a call does not come from its sender, otherwise what its identity token says, if any."""
    if verification.preset != "oidc":
        return verify(verification, call.headers, call.body, call.now)
    token = find_bearer(call.headers)
    if isinstance(token, Reason):
        return token
    return check_token(token, verification, call.audience, call.now, call.find_key)


def _admit(options: HandlerOptions, call: CallInput, identity: Identity | None) -> Verdict:
    try:
        tag = choose_tag(options.tag, call.query, partial(call.document, options))
    except InvalidInputError as error:
        return Verdict(kind=VerdictKind.INVALID, reason=Reason("invalid", (str(error),)))
    if isinstance(tag, Reason):
        return Verdict(kind=VerdictKind.SKIPPED, reason=tag)
    # Anybody who knows the URL could name a commit. A signed payload comes from the forge.
    revision = identity.revision if identity else find_revision(call.payload) if options.verify else None
    if options.pass_body is None:
        if not (tag or revision or identity):
            return ADMITTED
        return Verdict(tag=tag, revision=revision, identity=identity)
    text, note = _to_variable(call.body)
    # None removes the variable: new containers are copies of earlier ones, which may have the body of an earlier call.
    variable, notes = (options.pass_body, text), (note,) if note else ()
    return Verdict(tag=tag, variable=variable, revision=revision, identity=identity, notes=notes)


def _to_variable(body: bytes) -> tuple[str | None, Reason | None]:
    """Return the body as the value of a variable, or None and the reason why it is unsuitable.

    The limit of 32 KiB is below the kernel's limit (Linux: 128 KiB, MAX_ARG_STRLEN).
    """
    if len(body) > MAX_VARIABLE_BYTES:
        return None, Reason("body-too-large", (str(len(body)), str(MAX_VARIABLE_BYTES)))
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None, Reason("body-not-text")
    if "\0" in text:
        return None, Reason("body-has-nul")
    return text, None
