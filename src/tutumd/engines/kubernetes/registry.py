"""Asking a registry what it has under an image's name (OCI distribution specification, "Pulling manifests")."""

import base64
import ipaddress
import re
import time
from collections.abc import Mapping
from contextlib import closing
from threading import Thread
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from tutumd.engines.images.auth import registry_auth
from tutumd.engines.images.reference import ImageReference, parse_reference
from tutumd.engines.kubernetes.answers import (
    DIGEST,
    INDEXES,
    PRIVATE,
    REJECTED,
    Answer,
    Ask,
    Reply,
    parse_challenges,
    read_json,
    read_reply,
    unknown,
)
from tutumd.errors import EngineRefusedError

LIMIT_S = 10.0
"""For one question as a whole."""
_REQUEST_S = 5.0
_BODY_BYTES = 4 * 1024 * 1024
_REDIRECTS = 3
_MANIFESTS = (
    *INDEXES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class _NoAnswerError(Exception):
    """The registry was not asked, or did not answer as registries do. The text is for people."""


def asks_registries(config_dir: str | None, *, limit_s: float = LIMIT_S) -> Ask:
    """Return what asks the registry of an image, with the logins of the Docker client's configuration, read afresh."""

    def ask(image: str, architectures: bool) -> Answer:
        answers: list[Answer] = []

        def run() -> None:
            answers.append(_ask(image, architectures, config_dir, time.monotonic() + limit_s))

        # A thread, since neither the resolver nor a registry that sends its headers bit by bit has any other limit.
        thread = Thread(target=run, name="ask registry", daemon=True)
        thread.start()
        thread.join(limit_s)
        return answers[0] if answers else unknown(f"the registry did not answer within {limit_s:g} s")

    return ask


def _ask(image: str, architectures: bool, config_dir: str | None, ends: float) -> Answer:
    try:
        reference = parse_reference(image)
        auth = registry_auth(config_dir, reference)
    except EngineRefusedError as error:
        return unknown(str(error))
    with requests.Session() as session:
        question = _Question(session, reference, auth, ends)
        try:
            return question.answer(architectures)
        except _NoAnswerError as error:
            return unknown(str(error))
        except requests.exceptions.Timeout:
            return unknown(f"{reference.registry} did not answer within {_REQUEST_S:g} s")
        except requests.exceptions.SSLError:
            return unknown(f"the certificate of {reference.registry} is not trusted here")
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
            # Their texts hold addresses, and an address may hold a token.
            return unknown(f"{reference.registry} cannot be reached from here")


class _Question:
    """One image asked for at its registry."""

    def __init__(
        self, session: requests.Session, reference: ImageReference, auth: Mapping[str, Any], ends: float
    ) -> None:
        self._session = session
        self._reference = reference
        self._auth = {name.lower(): value for name, value in auth.items() if value}
        self._ends = ends
        host = "registry-1.docker.io" if reference.registry == "docker.io" else reference.registry
        self._local = is_loopback(urlsplit(f"//{host}").hostname or "")
        # A proxy is for what is beyond this machine.
        session.trust_env = not self._local
        self._url = f"{'http' if self._local else 'https'}://{host}/v2/{reference.path}/manifests/"
        self._url += reference.digest or reference.tag or "latest"
        self._authorization = ""

    @property
    def _logged_in(self) -> bool:
        return bool({"password", "identitytoken"} & self._auth.keys())

    def answer(self, architectures: bool) -> Answer:
        # HEAD first: Docker Hub counts each GET as a pull.
        reply = self._manifest("HEAD")
        if reply.status == 401:
            self._log_in(reply.headers.get("www-authenticate", ""))
            reply = self._manifest("HEAD")
        kind = reply.headers.get("content-type", "").partition(";")[0]
        told = DIGEST.fullmatch(reply.headers.get("docker-content-digest", ""))
        if reply.status == 404 or (reply.status == 200 and (not told or (architectures and kind in INDEXES))):
            reply = self._manifest("GET")
        return read_reply(reply, self._reference.registry, logged_in=self._logged_in and bool(self._authorization))

    def _manifest(self, method: str) -> Reply:
        headers = {"Accept": ", ".join(_MANIFESTS)}
        if self._authorization:
            headers["Authorization"] = self._authorization
        return self._send(method, self._url, headers=headers)

    def _log_in(self, challenge: str) -> None:
        """Get what the registry wants to see. Nobody else sees the login: https, or this machine's own loopback."""
        offered = parse_challenges(challenge)
        bearer = next((values for scheme, values in offered if scheme == "bearer"), None)
        if bearer is not None:
            self._authorization = f"Bearer {self._token(bearer)}"
        elif any(scheme == "basic" for scheme, _ in offered) and "password" in self._auth:
            self._authorization = self._basic()

    def _token(self, challenge: Mapping[str, str]) -> str:
        """Ask the token server (distribution: docs/content/spec/auth/token.md, oauth.md)."""
        values = {"scope": challenge.get("scope") or f"repository:{self._reference.path}:pull"}
        if challenge.get("service"):
            values["service"] = challenge["service"]
        realm = challenge.get("realm", "")
        if "identitytoken" in self._auth:
            grant = {"grant_type": "refresh_token", "refresh_token": self._auth["identitytoken"]}
            reply = self._send("POST", realm, data={**values, **grant, "client_id": "tutumd"})
        else:
            headers = {"Authorization": self._basic()} if "password" in self._auth else {}
            reply = self._send("GET", realm, headers=headers, params=values)
        if reply.status in (400, 401, 403) and self._logged_in:
            raise _NoAnswerError(f"{self._reference.registry} {REJECTED}")
        if reply.status in (401, 403):
            raise _NoAnswerError(f"{self._reference.registry} {PRIVATE}")
        found = read_json(reply.body)
        token = found.get("token") or found.get("access_token")
        if reply.status != 200 or not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise _NoAnswerError(f"{self._reference.registry} gave no token (HTTP status {reply.status})")
        return token

    def _basic(self) -> str:
        login = f"{self._auth.get('username', '')}:{self._auth['password']}"
        return f"Basic {base64.b64encode(login.encode()).decode()}"

    def _send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
        sent = {"Accept-Encoding": "identity", "User-Agent": "tutumd", **(headers or {})}
        for _ in range(_REDIRECTS + 1):
            self._refuse_unsafe(url)
            response = self._session.request(
                method,
                url,
                headers=sent,
                timeout=min(_REQUEST_S, self._remaining_s()),
                allow_redirects=False,
                stream=True,
                auth=_no_netrc,
                **more,
            )
            with closing(response):
                if not response.is_redirect or method == "POST":
                    lower = {name.lower(): value for name, value in response.headers.items()}
                    return Reply(status=response.status_code, headers=lower, body=self._read(response))
                following = urljoin(url, response.headers["location"])
            if _origin(following) != _origin(url):
                sent.pop("Authorization", None)
            url, more = following, {}
        raise _NoAnswerError(f"{self._reference.registry} redirects without end")

    def _read(self, response: requests.Response) -> bytes:
        body = b""
        while part := response.raw.read1(64 * 1024):
            body += part
            if len(body) > _BODY_BYTES:
                raise _NoAnswerError(f"{self._reference.registry} answered more than {_BODY_BYTES} bytes")
            self._remaining_s()
        return body

    def _remaining_s(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise _NoAnswerError(f"{self._reference.registry} did not answer in time")
        return left

    def _refuse_unsafe(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" or (self._local and parts.scheme == "http" and is_loopback(parts.hostname or "")):
            return
        raise _NoAnswerError(f"{self._reference.registry} refers to a server without TLS, which is not asked")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine itself: Docker asks such a registry without TLS."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request as it is: without an `auth`, requests looks for a login in ~/.netrc."""
    return request
