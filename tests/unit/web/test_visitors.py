"""Who visits a page while the database takes no changes."""

from types import SimpleNamespace

from fastapi import Request

from tests.unit.web.contexts import NOW, web_context
from tutumd.errors import UnavailableError
from tutumd.model import User
from tutumd.web.pages.visitors import find_visitor

ANN = User(uuid="ann", name="ann", is_admin=True, created=NOW)


class FullDisk:
    """A store that can be read only."""

    def user_named(self, name: str) -> User:
        assert name == ANN.name
        return ANN

    def session_user(self, _token_sha256: str) -> User | None:
        return None

    def add_session(self, *_: object) -> int:
        raise UnavailableError("the disk is full")


def test_a_user_whom_a_proxy_names_sees_pages_while_the_disk_is_full() -> None:
    web = web_context(store=FullDisk(), trusted_proxies=("192.0.2.1",))
    web.user_header = "X-User"
    request = Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "headers": [(b"x-user", b"ann"), (b"cookie", b"tutumd_session=" + b"x" * 43)],
            "client": ("192.0.2.1", 1),
            "app": SimpleNamespace(state=SimpleNamespace(context=web)),
        }
    )
    visitor = find_visitor(request)
    assert visitor is not None
    assert visitor.name == "ann"
