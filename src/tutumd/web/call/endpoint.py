"""The call endpoint, `POST …/webhook/handler/H/call/`: it needs no credentials and runs in front of the framework."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from json.encoder import encode_basestring
from urllib.parse import parse_qsl

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tutumd.application.admission.evaluate import CallInput, find_closed_reason, is_heavy
from tutumd.application.admission.fields import DEFAULTS, HandlerOptions
from tutumd.application.admission.headers import delivery_key
from tutumd.application.admission.identity import MISSING_KEYS, NEEDS_KEYS
from tutumd.application.admission.redact import redact_call, redact_key
from tutumd.application.calls import Remembered, accept, evaluate_call, parse_amount, parse_wait
from tutumd.application.queries import write_date
from tutumd.errors import (
    USED_UP,
    ClosedError,
    InvalidInputError,
    KeysMissingError,
    NotFoundError,
    Reason,
    TooManyCallsError,
    TutumdError,
    UnavailableError,
)
from tutumd.model import Accepted, ActionState, Call, Evaluation, EvaluationNeeded, HandlerPath, NotQueued, Reference
from tutumd.model.groups import GroupAccepted, GroupCall
from tutumd.ports import CallResult, Stored
from tutumd.web import uris
from tutumd.web.api.handler_objects import show_progress
from tutumd.web.api.objects import HOLD
from tutumd.web.body import read_body
from tutumd.web.call.batches import Lookups
from tutumd.web.context import WebContext, parse_uuid
from tutumd.web.errors import STOPPING, JsonResponse, error_response, render_failure
from tutumd.web.messages.deliveries import write_reason, write_reasons, write_refusal

CALL_PATH = re.compile(r"/api/v1/(?:service/([^/]+)/webhook/handler|webhook/group)/([^/]+)/call(?:/([^/]+))?/?")
"""Path of a call: the service, or none for a group; the handler or group; the amount."""
WAIT_STATUSES = {ActionState.SUCCESS: 200, ActionState.FAILED: 502, ActionState.CANCELED: 502}
"""Statuses of ended actions: `curl -f` fails if the action failed."""

LOG_PAUSE_S = 1.0
"""Only one call of a handler is logged in this period if the store does not accept its calls."""
MAX_REFUSED = 1_000

_DECIDED = (Accepted, NotQueued, TooManyCallsError)
"""Results of calls whose sender is known to be authentic or not."""

encode_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


class CallEndpoint:
    """Responds to calls: with 202 only after the call is on disk."""

    def __init__(self, context: WebContext) -> None:
        self._context = context
        self._refused: dict[str, asyncio.Task[None]] = {}
        self._lookups = Lookups(lambda paths: context.store.callable_handlers(paths))

    async def __call__(self, scope: Scope, receive: Receive, send: Send, path: "re.Match[str]") -> None:
        """Respond to a request whose path matches CALL_PATH."""
        began, waits = time.monotonic(), False
        try:
            if scope["method"] != "POST":
                raise HTTPException(405, "a handler is called with POST", {"Allow": "POST"})
            service, handler, amount = path.groups()
            handler_path, containers = parse_path(service, handler), parse_amount(amount or "1")
            needed = await self._look_up(scope, handler_path)
            body = await read_body(Request(scope, receive))
            began = time.monotonic()
            call = self._make_call(scope, handler_path, containers)
            call_input = await self._parse(scope, body, call.origin.address)
            prefer = ",".join(value for name, value in call_input.headers if name == "prefer")
            wait_s = parse_wait(dict(call_input.query).get("wait"), prefer)
            call, result = await self._accept(call_input, call, needed)
            if not isinstance(result, NotQueued) and wait_s is not None:
                self._context.call_metrics.count(202, began)
                waits = True
                notes = list_notes(call, result)
                response: Response = await wait_for_end(
                    self._context, result.refer(call), result.action_uuid, wait_s, notes
                )
            else:
                response = render_result(self._context, call, result)
        except HTTPException as error:
            response = error_response(error.status_code, error.detail, dict(error.headers or {}))
        except asyncio.CancelledError:
            response = error_response(503, STOPPING)
        except Exception as error:  # noqa: BLE001 (the caller gets a response whatever happened)
            response = render_failure(error)
        if not waits:
            self._context.call_metrics.count(response.status_code, began)
        await response(scope, receive, send)

    async def respond(self, scope: Scope, body: bytes, call: Call, first_result: CallResult) -> Response:
        """Return the response to a call that does not wait. `first_result` and errors are those of `accept`."""
        call_input = await self._parse(scope, body, call.origin.address)
        return render_result(self._context, *await self._accept(call_input, call, None, first_result))

    async def _look_up(self, scope: Scope, path: HandlerPath) -> EvaluationNeeded | None:
        """Return the options of a handler that is not cached; None if the store decides about the call immediately.

        Every 404 comes from here, before the headers, query and body of the call are parsed, so that response times
        reveal nothing.

        Raises:
            NotFoundError: As `accept`.
        """
        context, now = self._context, self._context.clock()
        remembered = context.admission_cache.recall(path)
        if remembered is not None:
            address = context.read_origin(scope).address
            is_closed = find_closed_reason(remembered.options, address, now)
            if not is_closed and not self._is_limited(remembered.options, path[1], address):
                return None
        try:
            needed = await self._lookups.find(path)
        except NotFoundError:
            await context.pace.wait()
            raise
        call = self._make_call(scope, path)
        try:
            context.admission_cache.read_callable(path, needed, call.origin.address, now)
        except ClosedError as error:
            if error.why == USED_UP and delivery_key(decode_headers(scope)):
                return None  # the call may repeat a delivery that the handler has accepted
            self._log_later(call, error)
            await context.pace.wait()
            raise
        return needed

    def _make_call(self, scope: Scope, path: HandlerPath, amount: int = 1) -> Call:
        """Return a call without its content."""
        return Call(
            service_uuid=path[0],
            handler_uuid=path[1],
            amount=amount,
            origin=self._context.read_origin(scope),
            body_size=0,
        )

    async def _parse(self, scope: Scope, body: bytes, address: str) -> CallInput:
        if len(scope["query_string"]) <= 4096:
            return self._make_input(scope, body, address)
        return await anyio.to_thread.run_sync(self._make_input, scope, body, address)

    def _make_input(self, scope: Scope, body: bytes, address: str) -> CallInput:
        context, query = self._context, scope["query_string"].decode("latin-1")
        return CallInput(
            headers=decode_headers(scope),
            query=parse_qsl(query, keep_blank_values=True) if query else (),
            body=body,
            address=address,
            now=context.clock(),
            find_key=context.issuer_keys.find,
            audience=context.public_origin,
        )

    async def _accept(
        self, call_input: CallInput, call: Call, needed: EvaluationNeeded | None, first_result: CallResult | None = None
    ) -> tuple[Call, Stored]:
        evaluator = partial(self._evaluate, call_input, call)
        try:
            if first_result is None:
                call = await evaluator(needed)
            return await accept(call, self._store, evaluator, first_result)
        except (ClosedError, InvalidInputError, TooManyCallsError) as error:
            self._log_later(call, error)
            raise

    def _log_later(self, call: Call, error: TutumdError) -> None:
        """Log a call that the store did not accept in its handler's log, after a pause.

        The pause keeps response times from revealing whether the handler exists. Each handler logs one such call at a
        time.
        """
        if call.handler_uuid not in self._refused and len(self._refused) < MAX_REFUSED:
            code = "too-many-calls" if isinstance(error, TooManyCallsError) else "invalid"
            reason = error.why if isinstance(error, ClosedError) else Reason(code, (str(error),))
            # Omit content that may not be redacted yet. The store keeps no content of such a call anyway.
            refused = replace(call, content="", origin=replace(call.origin, user_agent=""), key=None)
            self._refused[call.handler_uuid] = asyncio.create_task(self._log_refusal(refused, reason))

    async def _log_refusal(self, refused: Call, reason: Reason) -> None:
        await asyncio.sleep(LOG_PAUSE_S)
        del self._refused[refused.handler_uuid]

        async def refuse(needed: EvaluationNeeded) -> Call:
            return replace(refused, evaluation=Evaluation(version=needed.version, refuse=reason))

        with contextlib.suppress(TutumdError):  # the log of refused calls may have gaps
            await accept(await refuse(EvaluationNeeded(options={}, version=-1)), self._context.batches.store, refuse)

    async def _store(self, call: Call) -> CallResult:
        result = await self._context.batches.store(call)
        self.settle(call, result)
        return result

    def settle(self, call: Call, result: CallResult) -> None:
        """Record the store's decision about a call: whether the handler is gone, and whether the sender was refused."""
        context, evaluation = self._context, call.evaluation
        if isinstance(result, NotFoundError):
            context.admission_cache.remove(call.handler_path)
        if evaluation and evaluation.verified and isinstance(result, _DECIDED):
            context.refused_calls.record(call.handler_uuid, call.origin.address, is_refused=bool(evaluation.refuse))

    def judge_now(
        self, scope: Scope, body: bytes, handler_uuid: str, address: str, remembered: Remembered
    ) -> Evaluation | None:
        """Return the evaluation of a call without parameters by cached options; None if that has to wait.

        Raises:
            ClosedError: These options close the handler, so it must be looked up.
        """
        options = remembered.options
        call_input = self._make_input(scope, body, address)
        if is_heavy(options, call_input) or self._is_limited(options, handler_uuid, address):
            return None
        evaluation = evaluate_call(remembered, call_input)
        return None if _needs_keys(evaluation) else evaluation

    def _is_limited(self, options: HandlerOptions, handler_uuid: str, address: str) -> bool:
        return options.verify is not None and self._context.refused_calls.wait_s(handler_uuid, address) > 0

    async def _evaluate(self, call_input: CallInput, received: Call, needed: EvaluationNeeded | None) -> Call:
        """Return a call with its evaluation, redacted by the same options.

        Args:
            needed: The store's current options; None: the cached options are sufficient.
        """
        context, path, address = self._context, received.handler_path, call_input.address
        if needed is None:
            remembered = context.admission_cache.recall(path)
        else:
            options = context.admission_cache.read_callable(path, needed, address, call_input.now)
            if options.verify is not None:
                context.refused_calls.check(received.handler_uuid, address)
            remembered = Remembered(options, needed.version)
        call = await self._judge(received, call_input, remembered)
        for _ in range(2):  # a new process reads the stored keys first
            if refusal := _needs_keys(call.evaluation):
                await context.issuer_keys.refreshed(refusal.values[-1])
                call = await self._judge(received, call_input, remembered)
        if (refusal := _needs_keys(call.evaluation)) and refusal.code == MISSING_KEYS:
            raise KeysMissingError(write_refusal(refusal))
        return call

    async def _judge(self, received: Call, call_input: CallInput, remembered: Remembered | None) -> Call:
        work = partial(judge, received, call_input, remembered)
        if is_heavy(remembered.options if remembered else DEFAULTS, call_input):
            return await self._context.heavy_work.run(received.handler_path, len(call_input.body), work)
        return work()


def _needs_keys(evaluation: Evaluation | None) -> Reason | None:
    """Return why a call is refused, if newer keys of the issuer of its token may change that."""
    refusal = evaluation.refuse if evaluation else None
    return refusal if refusal and refusal.code in NEEDS_KEYS else None


async def wait_for_end(
    context: WebContext, reference: Reference, action_uuid: str, wait_s: int, notes: Sequence[str] = ()
) -> JsonResponse:
    """Return the response to a request that waits for the end of its action, or of its group call if `action_uuid` is
    empty. `notes` are for the caller.
    """
    status_url = uris.uri("status", context.status_tokens.make(reference))
    headers = action_header(action_uuid)
    try:
        progress = await context.long_poll.wait_until_ended(reference, wait_s)
    except (NotFoundError, UnavailableError, asyncio.CancelledError):  # canceled: the server's grace period is over
        text = "the call is accepted, but its progress cannot be read now: ask at status_url, and do not call again"
        return JsonResponse({"error": text, "status_url": status_url}, 504, headers)
    fields = show_progress(progress, status_url) | ({"notes": notes} if notes else {})
    state = progress.state if isinstance(progress, GroupCall) else progress.action.state
    return JsonResponse(fields, WAIT_STATUSES.get(state, 504), headers)


def judge(received: Call, call_input: CallInput, remembered: Remembered | None) -> Call:
    """Return a call with its evaluation by a handler's options, and with its content to store.

    Without options, the call has an evaluation only if the store needs one.
    """
    options = remembered.options if remembered else DEFAULTS
    has_tag_param = any(name == "tag" for name, _ in call_input.query)
    evaluation = None
    if remembered is not None and (options is not DEFAULTS or has_tag_param):
        evaluation = evaluate_call(remembered, call_input)
    content = redact_call(call_input.headers, call_input.query, call_input.body, options.verify)
    return replace(
        received,
        evaluation=evaluation,
        content=encode_json(content),
        # The store keeps the user agent in a separate column, redacted like the header.
        origin=replace(received.origin, user_agent=dict(content["headers"]).get("user-agent", "")),
        body_size=len(call_input.body),
        key=(evaluation and evaluation.key) or redact_key(delivery_key(call_input.headers), options.verify),
        has_tag_param=has_tag_param,
    )


def render_result(context: WebContext, call: Call, result: Stored) -> Response:
    """Return the response to a call that does not wait."""
    if not isinstance(result, NotQueued):
        return Response(
            encode_accepted(context, call, result), 202, action_header(result.action_uuid), "application/json"
        )
    evaluation = call.evaluation
    if evaluation is not None and evaluation.refuse:
        return JsonResponse({"error": write_refusal(evaluation.refuse)}, 401)
    skip = result.skip or (evaluation and evaluation.skip)
    reasons = (skip, *(evaluation.notes if evaluation else ())) if skip else ()
    return JsonResponse({"state": "Skipped", "reason": write_reasons(reasons)})


def action_header(action_uuid: str) -> dict[str, str]:
    """Return the header that names the action of a call, if it has a single one."""
    return {uris.ACTION_HEADER: uris.uri("action", action_uuid)} if action_uuid else {}


def encode_accepted(context: WebContext, call: Call, accepted: Accepted | GroupAccepted) -> bytes:
    """Return the body of the response 202 to a call. Formatting the JSON here is faster than building a dictionary."""
    if isinstance(accepted, GroupAccepted):
        return _encode_group_accepted(context, call, accepted)
    uri = uris.handler_uri(call.service_uuid, call.handler_uuid)
    name = "null" if accepted.name is None else encode_basestring(accepted.name)
    status_url = uris.uri("status", context.status_tokens.make(accepted.refer(call)))
    notes = list_notes(call, accepted)
    noted = f',"notes":{encode_json(notes)}' if notes else ""
    if accepted.holds:
        ends = [hold.until for hold in accepted.holds]
        held = {
            "holds": [HOLD.model_validate(hold).model_dump(mode="json") for hold in accepted.holds],
            "held_until": write_date(max(filter(None, ends))) if all(ends) else None,
        }
        noted += f",{encode_json(held)[1:-1]}"
    return (
        f'{{"url":"{uri}call/","name":{name},"operation":"{accepted.operation}","resource_uri":"{uri}",'
        f'"uuid":"{call.handler_uuid}","action":"{uris.uri("action", accepted.action_uuid)}",'
        f'"status_url":"{status_url}"{noted}}}\n'
    ).encode()


def _encode_group_accepted(context: WebContext, call: Call, accepted: GroupAccepted) -> bytes:
    """Return the body of the response 202 to a call of a group."""
    actions = [
        {
            "service": uris.uri("service", line.service_uuid),
            "service_name": line.service_name,
            "action": uris.uri("action", line.action_uuid) if line.action_uuid else None,
            "state": line.state.value if line.action_uuid else None,
            "joined": line.joined,
            "note": write_reason(line.note) if line.note else None,
        }
        for line in accepted.lines
    ]
    notes = list_notes(call, accepted)
    fields = {
        "name": accepted.name,
        "uuid": call.handler_uuid,
        "resource_uri": uris.handler_uri("", call.handler_uuid),
        "actions": actions,
        "status_url": uris.uri("status", context.status_tokens.make(accepted.refer(call))),
        "group_call": uris.uri("webhook/groupcall", str(accepted.number)),
        **({"notes": notes} if notes else {}),
    }
    return f"{encode_json(fields)}\n".encode()


def decode_headers(scope: Scope) -> list[tuple[str, str]]:
    """Return the headers as text. RFC 9110: non-ASCII bytes have no defined meaning."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]


def list_notes(call: Call, accepted: Accepted | GroupAccepted) -> list[str]:
    """Return the notes for the caller about its own call and about the service."""
    of_call = [write_reason(note) for note in call.evaluation.notes] if call.evaluation else []
    return [*of_call, *accepted.notes] if isinstance(accepted, Accepted) else of_call


def parse_path(service: str | None, handler: str) -> HandlerPath:
    """Return the path of a match of CALL_PATH. Raises NotFoundError."""
    return parse_uuid(service) if service else "", parse_uuid(handler)
