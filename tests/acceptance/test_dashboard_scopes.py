"""Each scope on each page, as the table in docs/how-to/dashboard.md says, for admins, members and narrow keys."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.acceptance.page_routes import FOR_ALL, page_routes
from tests.acceptance.raw_http import UNKNOWN
from tests.support.dashboard_bed import serve_edge
from tests.support.pages import Visitor, signed_in
from tests.support.server import USER
from tutumd.model import Scope

PAGE = Path(__file__).parents[2] / "docs/how-to/dashboard.md"
_ROW = re.compile(r"\| `([A-Z]+) (/\S*)` \| `(\w+)` \|")


def documented_scopes() -> dict[tuple[str, str], Scope]:
    """Return the scopes that the page says, by method and path."""
    return {(row[1], row[2]): Scope(row[3]) for row in _ROW.finditer(PAGE.read_text())}


def test_the_page_has_the_scope_of_every_page() -> None:
    served = {(route.method, route.path) for route in page_routes() if route.path not in FOR_ALL}
    assert documented_scopes().keys() == served


@pytest.mark.slow
def test_a_page_refuses_a_session_without_its_scope_and_no_other(tmp_path: Path) -> None:
    with serve_edge(f"sqlite:///{tmp_path / 'test.db'}") as edge:
        limits: dict[str, Any] = {"service_uuid": edge.create_service("other")["uuid"]}
        member = add_member(edge, "member").name
        for (name, narrow), scope in product(((USER, {}), (member, {}), (USER, limits)), Scope):
            visitor = signed_in(edge, name, add_limited_key(edge, name, scope=scope, **narrow).key)
            check(visitor, scope, is_narrow=bool(narrow))


def check(visitor: Visitor, scope: Scope, *, is_narrow: bool) -> None:
    token = visitor.get("/account/").form("Sign out").csrf
    for (method, path), needed in documented_scopes().items():
        address = re.sub(r"\{\w*number\}", "999999", re.sub(r"\{\w*(uuid|id)\}", UNKNOWN, path))
        page = visitor.send(method, address, {"csrf": token} if method == "POST" else "")
        if not scope.includes(needed):
            assert page.status == 403, (method, path)
            assert f"the scope '{scope}', and this needs '{needed}'" in page.text, (method, path)
        elif page.status == 403:
            is_for_admins = path.startswith("/account/user/") and "only admins may do this" in page.text
            assert is_for_admins or (is_narrow and "only: use another key" in page.text), (method, path, page.text)
        else:
            assert page.status in (200, 303, 400, 404), (method, path)
