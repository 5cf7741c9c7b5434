"""What all pages of handlers share: finding the handler, and what is shown once somebody has revoked it."""

from asyncio import to_thread
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute

from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import Handler, Query, Scope, Service, User
from tutumd.ports.store import Store
from tutumd.web.context import context, parse_uuid
from tutumd.web.pages.deeds import with_deed
from tutumd.web.pages.rendering import render
from tutumd.web.pages.service_buttons import name_in_command
from tutumd.web.pages.visitors import is_secure
from tutumd.web.uris import call_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerCommands:
    """Commands for one handler.

    Attributes:
        service, handler: As words of a shell.
    """

    service: str
    handler: str

    def write(self, verb: str, *options: str) -> str:
        """Return a command; where it does not name the handler, with a comment that says where to find the UUID."""
        words = ["tutum webhook-handler", verb, self.service, self.handler, *options]
        if self.handler == _UNKNOWN:
            words.append(f"  # its UUID is in: tutum webhook-handler list {self.service}")
        return " ".join(words)


def commands_for(store: Store, viewer: User, service: Service, handler: Handler) -> HandlerCommands:
    """Return the commands for a handler."""
    name, word = handler.name or "", _UNKNOWN
    if name.isprintable() and not name.startswith("-") and name.strip():
        same = store.handlers(viewer, service.uuid, Query(filters={"name": name}, limit=1))
        word = quote(name) if same.total == 1 else _UNKNOWN
    return HandlerCommands(service=quote(name_in_command(store, viewer, service)), handler=word)


ServiceUuid = Annotated[str, Path()]
Number = Annotated[int, Path(ge=1, lt=2**31)]
BASE = "/service/{service_uuid}/handler/{number}/"
HAS_NEW_URL = (
    "somebody gave this handler a new URL at the same moment, and what you did changed nothing: go back, load the page"
    " again, and repeat it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundHandler:
    """A handler of a page's address, with its service.

    Attributes:
        path: Of its page, with the path of the public URL.
    """

    service: Service
    handler: Handler
    commands: HandlerCommands
    path: str

    @property
    def values(self) -> dict[str, Any]:
        """What the templates of a handler know."""
        return {
            "service": self.service,
            "handler": self.handler,
            "name": self.handler.name or f"handler {self.handler.number}",
            "path": self.path,
            "command": self.commands.write,
        }


def find_handler(request: Request, visitor: User, service_uuid: str, number: int) -> FoundHandler:
    """Return the handler of an address. Raises NotFoundError."""
    web, uuid = context(request), parse_uuid(service_uuid)
    request.state.handler_number = number
    service = web.store.service(visitor, uuid)
    handler = web.store.handler_by_number(visitor, uuid, number)
    return FoundHandler(
        service=service,
        handler=handler,
        commands=commands_for(web.store, visitor, service, handler),
        path=f"{web.public_path}/service/{uuid}/handler/{number}/",
    )


def make_call_url(request: Request, handler: Handler) -> str:
    """Return the whole URL of a handler, which is a password: by the public URL, else as the visitor came here."""
    scheme = "https" if is_secure(request) else "http"
    start = context(request).public_url or f"{scheme}://{request.url.netloc}"
    return start + call_uri(handler.service_uuid, handler.uuid)


def rights_of(visitor: User) -> dict[str, bool]:
    """Return what a visitor may do, for templates."""
    return {"may_call": visitor.may(Scope.CALL), "may_change": visitor.may(Scope.OPERATE)}


def go_back(found: FoundHandler, did: str) -> RedirectResponse:
    """Redirect to the page of a handler, which says what was done."""
    return RedirectResponse(with_deed(found.path, did), 303, headers={"Cache-Control": "no-store"})


class HandlerRoute(APIRoute):
    """A route whose page, once its handler is revoked, says so and leads to the service.

    A handler that somebody gave a new URL in the meantime is not revoked: what was to be done is refused.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's function."""
        handle = super().get_route_handler()

        async def handle_revoked(request: Request) -> Response:
            try:
                return await handle(request)
            except NotFoundError:
                return await to_thread(_show_gone, request)

        return handle_revoked


def _show_gone(request: Request) -> Response:
    """Return the page of a revoked handler. Raises NotFoundError, also if the visitor is not known."""
    visitor: User | None = getattr(request.state, "visitor", None)
    if visitor is None:
        raise NotFoundError("the dashboard has no visitor yet")
    store = context(request).store
    service = store.service(visitor, parse_uuid(request.path_params["service_uuid"]))
    with suppress(NotFoundError):
        store.handler_by_number(visitor, service.uuid, getattr(request.state, "handler_number", 0))
        raise ConflictError(HAS_NEW_URL)
    return render(request, "handler_gone.html", 404, service=service)


def make_router() -> APIRouter:
    """Return a router for pages of handlers."""
    return APIRouter(route_class=HandlerRoute)


_UNKNOWN = "HANDLER"
"""Stands for a handler whose name does not tell it from others: the CLI then wants the start of its UUID."""
