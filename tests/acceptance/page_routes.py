"""Every route of the dashboard, and its addresses for given objects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi.routing import APIRoute

from tutumd.web.pages.site import PAGES

FOR_ALL = frozenset({"/sign-in/", "/sign-in/link/{token}/", "/sign-out/", "/static/{name}"})
"""Paths of routes that need no sign-in."""

NUMBERS = ("number", "delivery_number", "group_number", "call_number", "group_delivery")
"""Placeholders of numbers."""

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PageRoute:
    """A method and a path with placeholders such as `uuid` and `number`."""

    method: str
    path: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(_NAME.findall(self.path))

    def fill(self, values: Mapping[str, object]) -> str:
        """Return the address. A service's `uuid` has the key `service_uuid`, an action's `action_uuid`; the number of a
        group's delivery has the key `group_delivery`.
        """
        path = self.path.replace("/action/{uuid}/", "/action/{action_uuid}/")
        if path.startswith("/groups/"):
            path = path.replace("{number}", "{group_number}").replace("{delivery_number}", "{group_delivery}")
        return path.replace("{uuid}", "{service_uuid}").format_map(dict(values))


def page_routes() -> list[PageRoute]:
    """Return the routes of the dashboard, without HEAD."""
    assert all(isinstance(route, APIRoute) for module in PAGES for route in module.router.routes)
    return sorted(
        PageRoute(method=method, path=route.path)
        for module in PAGES
        for route in module.router.routes
        for method in route.methods or ()
        if method != "HEAD"
    )
