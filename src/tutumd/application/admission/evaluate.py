"""Evaluation of a call by its handler's options: whether it is admitted, whether it counts, and what it carries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from tutumd.application.admission.addresses import allows
from tutumd.application.admission.bodies import to_variable
from tutumd.application.admission.fields import HandlerOptions
from tutumd.application.admission.filters import Globs, decide
from tutumd.application.admission.headers import Headers, as_document, find_all
from tutumd.application.admission.payloads import Push, find_skip_reason, parse_body, read_push
from tutumd.application.admission.tags import QUERY, choose_tag
from tutumd.application.admission.verify import verify
from tutumd.errors import InvalidInputError
from tutumd.reasons import Reason

MAX_QUICK_BYTES = 32 * 1024
"""Longest body that is verified without a thread. To look for a ping in it takes about as long as to store the call."""
MAX_QUICK_PARAMETERS = 500  # of a query that is redacted without a thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The call is admitted and counts.

    Attributes:
        tag: Image tag to deploy; None for the service's own.
        variable: Name and value of the variable for the new containers; the value None removes it.
        notes: For the caller.
    """

    tag: str | None = None
    variable: tuple[str, str | None] | None = None
    notes: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """The call is admitted and does nothing: 200 with the reason."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized:
    """The call does not come from its sender: 401 with the reason, which contains no secret."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The handler cannot be called now, or not from there: 404 as for an unknown handler. Only the owner sees why."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """The call names a tag that is wrong or not allowed: 400 with the text."""

    text: str

    @property
    def reason(self) -> Reason:
        """The error, as a reason."""
        return Reason("invalid", (self.text,))


Verdict = Admitted | Skipped | Unauthorized | Hidden | Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of one check. `verdict` is set if it stops the call."""

    check: str
    passes: bool
    why: tuple[Reason, ...]
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class CallInput:
    """Content of a call as it was received, and its circumstances. `address` is the client's."""

    headers: Headers
    query: Sequence[tuple[str, str]]
    body: bytes
    address: str
    now: datetime

    @cached_property
    def payload(self) -> Any:
        """The body as a JSON value; None if it is not JSON."""
        return parse_body(self.body, "".join(find_all(self.headers, "content-type")[:1]))

    @cached_property
    def push(self) -> Push:
        """What was pushed, according to the payload."""
        return read_push(self.headers, self.payload)

    def document(self, options: HandlerOptions) -> dict[str, Any]:
        """Return the document that expressions read. The last of repeated query parameters counts."""
        signature_header = options.verify.header if options.verify else ""
        return {
            "body": self.payload,
            "headers": as_document(self.headers, signature_header),
            "query": dict(self.query),
        }


def is_heavy(options: HandlerOptions, call: CallInput) -> bool:
    """Return whether an evaluation may take so long that it needs a thread: for a hostile body half a second."""
    reads_deeply = options.filter or (options.tag and options.tag.source != QUERY)
    is_long = (options.verify and len(call.body) > MAX_QUICK_BYTES) or len(call.query) > MAX_QUICK_PARAMETERS
    return bool(reads_deeply or is_long)


def find_closed_reason(options: HandlerOptions, address: str, now: datetime) -> Reason | None:
    """Return why the handler cannot be called now, or not from there, whatever the call contains; None if it can."""
    call = CallInput(headers=(), query=(), body=b"", address=address, now=now)
    results = (check(options, call) for check in _ACCESS_CHECKS)
    return next((result.verdict.reason for result in results if result and isinstance(result.verdict, Hidden)), None)


def evaluate(options: HandlerOptions, call: CallInput) -> Verdict:
    """Return the verdict on a call. Takes about 0.2 ms, for a hostile body up to half a second."""
    for check in _CHECKS:
        result = check(options, call)
        if result is not None and result.verdict is not None:
            return result.verdict
    return _admit(options, call)


def explain(options: HandlerOptions, call: CallInput) -> tuple[list[CheckResult], Verdict]:
    """Return the results of all checks, also of those after a failed one, and the verdict on the call."""
    results = [result for check in _CHECKS if (result := check(options, call)) is not None]
    verdict = _admit(options, call)
    if not isinstance(verdict, Admitted):
        results.append(CheckResult(check="tag", passes=False, why=(verdict.reason,), verdict=verdict))
    elif options.tag is not None:
        tag = Reason("tag-chosen", (verdict.tag,)) if verdict.tag else Reason("no-tag")
        results.append(CheckResult(check="tag", passes=True, why=(tag,)))
    if isinstance(verdict, Admitted) and options.pass_body is not None:
        why = verdict.notes or (Reason("body-passed", (options.pass_body,)),)
        results.append(CheckResult(check="pass_body", passes=not verdict.notes, why=why))
    return results, next((result.verdict for result in results if result.verdict is not None), verdict)


def _check_enabled(options: HandlerOptions, call: CallInput) -> CheckResult | None:
    if options.enabled:
        return None
    why, verdict = Reason("is-disabled"), Hidden(reason=Reason("disabled"))
    return CheckResult(check="enabled", passes=False, why=(why,), verdict=verdict)


def _check_expires(options: HandlerOptions, call: CallInput) -> CheckResult | None:
    if options.expires_datetime is None:
        return None
    if call.now < options.expires_datetime:
        return CheckResult(check="expires_datetime", passes=True, why=(Reason("not-expired"),))
    why, verdict = Reason("has-expired"), Hidden(reason=Reason("expired"))
    return CheckResult(check="expires_datetime", passes=False, why=(why,), verdict=verdict)


def _check_address(options: HandlerOptions, call: CallInput) -> CheckResult | None:
    if not options.allow_from:
        return None
    if allows(options.allow_from, call.address):
        return CheckResult(check="allow_from", passes=True, why=(Reason("address-allowed", (call.address,)),))
    why = Reason("address-not-allowed", (call.address or "an unknown address",))
    return CheckResult(check="allow_from", passes=False, why=(why,), verdict=Hidden(reason=why))


def _check_sender(options: HandlerOptions, call: CallInput) -> CheckResult | None:
    if options.verify is None:
        return None
    problem = verify(options.verify, call.headers, call.body, call.now)
    if problem is None:
        return CheckResult(check="verify", passes=True, why=(Reason("sender-right", (options.verify.preset,)),))
    return CheckResult(check="verify", passes=False, why=(problem,), verdict=Unauthorized(reason=problem))


def _check_event(options: HandlerOptions, call: CallInput) -> CheckResult | None:
    if not options.reads_payload:
        return None
    reason = find_skip_reason(call.headers, call.payload)
    if not reason:
        return CheckResult(check="event", passes=True, why=(Reason("is-event"),))
    return CheckResult(check="event", passes=False, why=(reason,), verdict=Skipped(reason=reason))


def _check_filters(options: HandlerOptions, call: CallInput) -> CheckResult | None:
    if not options.filter:
        return None
    document, globs = call.document(options), Globs()
    decisions = [decide(condition, call.push, document, globs) for condition in options.filter]
    misses = tuple(decision.why for decision in decisions if not decision.passes)
    if misses:
        return CheckResult(check="filter", passes=False, why=misses, verdict=Skipped(reason=misses[0]))
    return CheckResult(check="filter", passes=True, why=tuple(decision.why for decision in decisions))


_Check = Callable[[HandlerOptions, CallInput], CheckResult | None]
_ACCESS_CHECKS: tuple[_Check, ...] = (_check_enabled, _check_expires, _check_address)
_CHECKS = (*_ACCESS_CHECKS, _check_sender, _check_event, _check_filters)


def _admit(options: HandlerOptions, call: CallInput) -> Verdict:
    try:
        # `?tag=` is checked without a thread, so the body is not parsed for it.
        document = call.document(options) if options.tag and options.tag.source != QUERY else {}
        tag, skip_reason = choose_tag(options.tag, call.query, document)
    except InvalidInputError as error:
        return Invalid(text=str(error))
    if skip_reason:
        return Skipped(reason=skip_reason)
    if options.pass_body is None:
        return Admitted(tag=tag)
    text, note = to_variable(call.body)
    # None removes the variable: containers are made from earlier ones, which may have the body of an earlier call.
    return Admitted(tag=tag, variable=(options.pass_body, text), notes=(note,) if note else ())
