"""Pages as HTML: the templates, and what all of them know."""

import secrets
from datetime import datetime
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from tutumd.errors import TutumdError
from tutumd.model import Action, User
from tutumd.web.context import context
from tutumd.web.pages.assets import name_assets
from tutumd.web.pages.cookies import set_cookie
from tutumd.web.pages.formats import FILTERS

_templates = Environment(
    loader=PackageLoader("tutumd.web.pages"),
    autoescape=True,  # whatever the name of a template
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)


RESULTS = {
    "created": "The handler is created. Show its URL and give it to the sender.",
    "changed": "The change is saved. Calls from now on follow it.",
    "unchanged": "Nothing was different, so nothing is changed.",
    "enabled": "The handler is enabled: calls count again.",
    "disabled": "The handler is disabled.",
    "rotated": "The handler has a new URL. Show it and give it to the sender.",
    "revoked": "The handler is revoked: its URL returns 404, for good.",
    "forgotten": "The service is forgotten, and its handlers are revoked.",
    "scaled": "The number of containers is set: as many start with the service.",
    "key-revoked": "The key is revoked: requests with it are refused.",
    "session-ended": "The session is ended.",
    "sessions-ended": "All other sessions are ended.",
}
"""What a form did, as the page that follows says once: `app.js` removes the key from the address."""


def go_to(request: Request, path: str, did: str = "") -> RedirectResponse:
    """Redirect to a page of ours, which says what was done: a key of `RESULTS`.

    The browser follows with GET, and loading the page again repeats nothing.
    """
    address = context(request).public_path + path
    return RedirectResponse(f"{address}?did={did}" if did else address, 303)


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Every template knows `root` (the path in front of all addresses), `here` (the page's own address, without query),
    `visitor` (the user, or None), `csrf` (the token for forms), `now`, `said` (what was done), `asset(path)`, `ui`
    (the macros) and `values`; all but the block `live` know `unfinished` (actions that run or wait). For a
    request of a script that refreshes a page, only the block `live` is rendered.
    """
    web = context(request)
    visitor: User | None = getattr(request.state, "visitor", None)
    now: datetime = web.clock()
    known: dict[str, Any] = {
        "root": web.public_path,
        "here": web.public_path + request.url.path,
        "visitor": visitor,
        "csrf": getattr(request.state, "csrf", ""),
        "live_tag": getattr(request.state, "live_tag", ""),
        "corner_tag": getattr(request.state, "corner_tag", ""),
        "random_id": secrets.token_urlsafe(16),
        "now": now,
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
    response = HTMLResponse(html, status)
    if new_token := getattr(request.state, "new_token", ""):
        set_cookie(request, response, new_token)
    return response


def _read_unfinished(request: Request) -> tuple[Action, ...]:
    visitor: User | None = getattr(request.state, "visitor", None)
    try:
        return context(request).store.unfinished_actions(visitor) if visitor else ()
    except TutumdError:
        return ()  # the database is away, which the page says
