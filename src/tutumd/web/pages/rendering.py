"""Pages as HTML: the templates, their common values, and the format of values."""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from shlex import quote
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from tutumd.application.queries import write_date
from tutumd.errors import InvalidInputError, TutumdError
from tutumd.model import Action, User
from tutumd.web.context import context
from tutumd.web.errors import describe_error
from tutumd.web.messages.actions import describe_wait
from tutumd.web.messages.deliveries import describe_reason, describe_wish, write_reason
from tutumd.web.pages.assets import name_assets
from tutumd.web.pages.cookies import is_secure, set_cookie


def exact(at: datetime) -> str:
    """Return a time for people, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: datetime) -> str:
    """Return the time of day in UTC, for log lines."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def relative(at: datetime, now: datetime) -> str:
    """Return the distance between a time and `now`: `just now`, `3 min ago`, `in 2 h`, `5 days ago`.

    A time more than 30 days away is a date.
    """
    seconds = (now - at).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "just now"
    if size >= 30 * 86400:
        return at.astimezone(UTC).strftime("%Y-%m-%d")
    units = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (30 * 86400, 86400, "day"))
    unit_s, unit = next((unit_s, unit) for limit, unit_s, unit in units if size < limit)
    # A period of 7 days ends "in 7 days", also a second later.
    count = int(size // unit_s) if seconds > 0 else round(size / unit_s)
    text = f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def duration(seconds: float) -> str:
    """Return a duration in at most two units: `850 ms`, `4.2 s`, `12 s`, `3 min 4 s`, `2 h 5 min`, `3 d 1 h`."""
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit_s, unit, part_s, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // part_s
            return f"{whole // unit_s} {unit} {rest} {part}" if rest else f"{whole // unit_s} {unit}"
    return f"{whole} s"


def short_digest(digest: str) -> str:
    """Return the first twelve digits of `sha256:…`."""
    return digest.rpartition(":")[2][:12]


def verb(word: str) -> str:
    """Return the verb of an action or a handler for people, from its name in the API: `Scale up`, `Roll back`."""
    return word.replace("SCALEUP", "SCALE UP").replace("ROLLBACK", "ROLL BACK").capitalize()


_PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
"""What stands in a user agent, and whose it is. The first match counts: most user agents also name others."""

_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def agent(user_agent: str) -> str:
    """Return the browser and the system of a user agent, such as `Firefox on Linux`; else its first word.

    It helps people to find a session that is not theirs. A client can send any user agent.
    """
    program = next((name for part, name in _PROGRAMS if part in user_agent), "")
    system = next((name for part, name in _SYSTEMS if part in user_agent), "")
    return " on ".join(filter(None, (program, system))) or user_agent.partition(" ")[0][:40] or "unknown"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "iso": partial(write_date, timespec="milliseconds"),
    "exact": exact,
    "clock": clock,
    "relative": relative,
    "duration": duration,
    "short_digest": short_digest,
    "verb": verb,
    "shell": quote,
    "reason": describe_reason,
    "sentence": write_reason,
    "wait": describe_wait,
    "wish": describe_wish,
    "agent": agent,
}

_templates = Environment(
    loader=PackageLoader("tutumd.web.pages"),
    autoescape=True,  # whatever the name of a template
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)


RESULTS = {
    "handler-created": "The handler is created. Show its URL and give it to the sender.",
    "changed": "The change is saved. It applies from the next call on.",
    "unchanged": "Nothing was different, so nothing is changed.",
    "handler-enabled": "The handler is enabled: calls count again.",
    "handler-disabled": "The handler is disabled.",
    "handler-rotated": "The handler has a new URL. Show it and give it to the sender.",
    "handler-revoked": "The handler is revoked: its URL returns 404, for good.",
    "group-created": "The group is created. Show its URL and give it to the sender.",
    "group-enabled": "The group is enabled: calls count again.",
    "group-disabled": "The group is disabled.",
    "group-rotated": "The group has a new URL. Show it and give it to the sender.",
    "group-revoked": "The group is revoked: its URL returns 404, for good.",
    "forgotten": "The service is forgotten, and its handlers are revoked.",
    "all-forgotten": "The gone services are removed, and their handlers are revoked.",
    "some-forgotten": "Some gone services remain: an action runs on them, or there were more than 1,000. Press the"
    " button again for the rest.",
    "held": "Redeploys of the service are held. Calls are accepted, and one redeploy follows when the hold ends.",
    "resumed": "The service is not held any more. If calls were held, one redeploy carries them out.",
    "freeze-added": "The freeze window is added.",
    "freeze-removed": "The freeze window is removed. If calls waited for it, one redeploy carries them out.",
    "scaled": "The number of containers is set: as many start with the service.",
    "key-revoked": "The key is revoked: requests with it are refused.",
    "user-removed": "The user is removed: the keys are refused, and the sessions have ended.",
    "user-removed-labelled": "The user is removed: the keys are refused, and the sessions have ended. Services still"
    " have the label tutum.owner with this name. Change the label: the next user with this name gets the services.",
    "session-ended": "The session is ended.",
    "sessions-ended": "All other sessions are ended.",
    "target-created": "The target is created. Send a test to see whether messages arrive.",
    "target-changed": "The change is saved.",
    "target-enabled": "The target is enabled: messages are sent again.",
    "target-disabled": "The target is disabled: nothing is sent.",
    "target-deleted": "The target is deleted.",
    "retried": "The messages are queued again.",
}
"""What a form did, as the page that follows says once: `app.js` removes the key from the address."""


def go_to(request: Request, path: str, did: str = "") -> RedirectResponse:
    """Redirect to one of our pages, with a result to show: a key of `RESULTS`.

    The browser follows with GET, and reloading the page repeats nothing.
    """
    address = context(request).public_path + path
    return RedirectResponse(f"{address}{'&' if '?' in path else '?'}did={did}" if did else address, 303)


def start_of_urls(request: Request) -> str:
    """Return the start of complete URLs: the public URL, or else the visitor's address of the server."""
    scheme = "https" if is_secure(request) else "http"
    return context(request).public_url or f"{scheme}://{request.url.netloc}"


class FormError(InvalidInputError):
    """Fields of a form are wrong.

    Attributes:
        errors: What is wrong, by the names of fields; `""` is the form as a whole.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = errors


def list_errors(refused: TutumdError | None) -> Mapping[str, str]:
    """Return what is wrong with a form, as in `FormError`."""
    if isinstance(refused, FormError):
        return refused.errors
    return {refused.field: str(refused)} if refused else {}


def render(
    request: Request, template: str, status: int = 200, *, refused: TutumdError | None = None, **values: Any
) -> HTMLResponse:
    """Return a page.

    Every template knows `root` (the path in front of all addresses), `here` (the page's own address, without query),
    `visitor` (the user, or None), `csrf` (the token for forms), `now`, `said` (what was done), `error` (why a form was
    refused), `errors` (the same by the names of fields), `asset(path)`, `ui` (the macros) and `values`; all but the
    block `live` know `unfinished` (actions that run or wait). If a script refreshes a page, only the block `live` is
    rendered.

    Args:
        refused: Why a form was refused: it determines the status.
    """
    web, headers = context(request), dict[str, str]()
    if refused is not None:
        status, _, headers = describe_error(refused)
    known: dict[str, Any] = {
        "root": web.public_path,
        "here": web.public_path + request.url.path,
        "visitor": getattr(request.state, "visitor", None),
        "csrf": getattr(request.state, "csrf", ""),
        "live_tag": getattr(request.state, "live_tag", ""),
        "corner_tag": getattr(request.state, "corner_tag", ""),
        "random_id": secrets.token_urlsafe(16),
        "now": web.clock(),
        "error": str(refused or ""),
        "errors": list_errors(refused),
        "said": RESULTS.get(request.query_params.get("did", ""), ""),
        "version": request.app.version,
        "asset": lambda path: f"{web.public_path}/static/{name_assets()[path]}",
    }
    known["ui"] = _templates.get_template("macros.html").make_module(known)
    page = _templates.get_template(template)
    if request.headers.get("hx-request") == "true" and "live" in page.blocks and status == 200:
        html = "".join(page.blocks["live"](page.new_context(known | values)))
    else:
        html = page.render(known | {"unfinished": _read_unfinished(request)} | values)
    response = HTMLResponse(html, status, headers)
    if new_token := getattr(request.state, "new_token", ""):
        set_cookie(request, response, new_token)
    return response


def _read_unfinished(request: Request) -> tuple[Action, ...]:
    visitor: User | None = getattr(request.state, "visitor", None)
    try:
        return context(request).store.unfinished_actions(visitor) if visitor else ()
    except TutumdError:
        return ()  # the database is unavailable, which the page reports
