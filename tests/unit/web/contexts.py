"""A web context for tests that need no store."""

from datetime import UTC, datetime
from typing import Any, cast

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.web.context import WebContext

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def web_context(*, store: object = None, intake: object = None, trusted_proxies: tuple[str, ...] = ()) -> WebContext:
    return WebContext(
        store=cast(Any, store),
        intake=cast(Any, intake),
        clock=lambda: NOW,
        server_cap=10,
        cipher=SecretCipher([make_key()]),
        trusted_proxies=trusted_proxies,
    )
