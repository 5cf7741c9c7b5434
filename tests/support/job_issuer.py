"""An issuer of identity tokens as jobs and the server see it: discovery, keys, and the tokens that jobs request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.identity_tokens import claims_of, public_jwk, sign

BEARER = "the-job-may-request-tokens"
_GITLAB = {"repository": None, "project_path": "me/shop", "ref": "main", "ref_type": "branch"}


class JobIssuer(ThreadingHTTPServer):
    """Issues tokens as each of the issuers `/github`, `/gitlab` and `/api/actions`.

    Attributes:
        claims: Claims of the next tokens, beside those of a job of `me/shop` on `main`.
        fetched: URLs of the issuers whose keys were requested.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.claims: dict[str, Any] = {}
        self.fetched: set[str] = set()
        self._numbers = count(1)

    def url(self, name: str) -> str:
        """Return the URL of an issuer: `github`, `gitlab` or `forgejo`."""
        return f"http://127.0.0.1:{self.server_port}/{'api/actions' if name == 'forgejo' else name}"

    def token(self, name: str, audience: str) -> str:
        """Return a token of a new job."""
        own = _GITLAB if name == "gitlab" else {}
        identity = {"iss": self.url(name), "aud": audience, "jti": f"job-{next(self._numbers)}"}
        return sign(claims_of(datetime.now(UTC), **{**own, **identity, **self.claims}))

    def variables(self, name: str) -> dict[str, str]:
        """Return the variables with which a job requests its token."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url(name)}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER,
        }


class _Answering(BaseHTTPRequestHandler):
    server: JobIssuer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        issuer, _, page = parts.path.partition("/.well-known/")
        url = f"http://127.0.0.1:{self.server.server_port}{issuer}"
        document: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/.well-known/keys"}
        if page == "keys":
            document = {"keys": [public_jwk()]}
            self.server.fetched.add(url)
        elif parts.path.endswith("/token") and self.headers["Authorization"].lower() == f"bearer {BEARER}":
            name = "forgejo" if "/api/" in parts.path else "github"
            document = {"count": 1, "value": self.server.token(name, parse_qs(parts.query)["audience"][0])}
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def job_issuer() -> Iterator[JobIssuer]:
    """Serve an issuer."""
    with JobIssuer() as issuer:
        thread = threading.Thread(target=issuer.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            issuer.shutdown()
            thread.join()
