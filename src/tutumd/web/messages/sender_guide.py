"""What to enter at a sender: the fields of its form, a command or a configuration; and whether it can reach the
server.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_address
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from tutum import snippets
from tutumd.application.admission.json_checks import split_texts
from tutumd.application.handlers import public_options
from tutumd.application.public_url import SUBJECT, is_local
from tutumd.model import Finding, Handler, Operation, warning, wrong
from tutumd.web.messages.senders import Blank, Kind, Sender

WHAT_SENDERS_SEE = (
    (
        "404",
        "No handler has this URL. Compare every character. A call also gets a 404 if its URL was replaced, if its"
        " network is not allowed, or if the handler is disabled, used up or expired.",
    ),
    ("401", "The secret or the identity token is missing or wrong."),
    ("405", "The request was not a POST."),
    (
        "503",
        "The database is away, or the server has no keys of the issuer of the identity token. Run tutumd doctor on the"
        " server.",
    ),
    (
        "301 or 308",
        "A proxy redirects the request, often from http to https. Enter the address to which the proxy redirects.",
    ),
    (
        "No answer, or a certificate error",
        "The sender cannot reach this server. Run tutumd doctor on the server to check the public URL.",
    ),
)
"""What a sender shows if its call does not arrive or is refused, and the cause."""

_PRIVATE_NAMES = (".local", ".lan", ".internal", ".home.arpa", ".intranet", ".corp")
_SHOWN_BEFORE = "the secret that was shown when the handler was created"


def fill_entries(sender: Sender, handler: Handler, url: str, secret: str) -> list[tuple[str, str, bool]]:
    """Return the fields to fill in at a sender, for its handler: name, value, and whether the page offers to copy it.

    Args:
        secret: Secret of the handler; empty: it is no longer known, or the handler has none.
    """
    options = public_options(handler)
    condition = options["filter"]
    is_tag = isinstance(condition, dict) and condition.get("preset") == "tag" and Kind.TAG in sender.kinds
    blanks: dict[str, str] = {
        Blank.URL: url,
        Blank.SECRET: secret or _SHOWN_BEFORE,
        Blank.EVENTS: sender.events.get(Kind.TAG if is_tag else sender.kinds[0], ""),
    }
    return [
        (name, blanks.get(value, value), value == Blank.URL or (value == Blank.SECRET and bool(secret)))
        for name, value in sender.entries
        if value != Blank.SECRET or options["verify"]
    ]


def write_example(sender: Sender, handler: Handler, url: str, secret: str) -> str:
    """Return the text to paste for a sender: a command, a step of a pipeline, or its configuration; empty if it has
    none.
    """
    if sender.key == "alertmanager":
        secret = secret or (_SHOWN_BEFORE if "verify" in handler.options else "")
        credential = snippets.ALERTMANAGER_CREDENTIAL.format(secret=json.dumps(secret)) if secret else ""
        return snippets.ALERTMANAGER.format(url=url, credential=credential)
    if sender.issuer:
        return snippets.write_job(sender.issuer.value, _describe(handler), url)
    return write_call(handler, snippets.VARIABLE) if sender.key == "curl" else ""


def write_call(handler: Handler, url: str) -> str:
    """Return the lines that call a handler with curl, and fail if its run fails. They contain the URL, which is a
    password, or its variable.
    """
    return snippets.write_call(url, _describe(handler))


def _describe(handler: Handler) -> dict[str, Any]:
    return public_options(handler) | {"operation": handler.operation.value}


_OPTIONS = {
    "max_containers": "--max-containers",
    "verify.preset": "--verify",
    "verify.header": "--verify-with",
    "verify.issuer": "--issuer",
    "verify.audience": "--audience",
    "verify.claims": "--claim",
    "filter.branch.branch": "--branch",
    "filter.tag.tag": "--on-tag",
    "filter.expression": "--filter",
    "tag.allow": "--tag",
    "tag.from": "--tag-from",
}
"""Options of the command for inputs of the form of a handler."""


def write_command(service: str, texts: Mapping[str, str]) -> str:
    """Return the command that creates the handler of a form. The command prompts for the secret."""
    words = ["tutum", "webhook-handler", "create", service, "-n", texts["name"]]
    if texts["operation"] != Operation.REDEPLOY.value:
        words += ["-o", texts["operation"]]
    if repository := texts.get("filter.tag.repository"):
        tags = split_texts(texts["filter.tag.tag"])
        condition = {"preset": "tag", "tag": tags if len(tags) > 1 else tags[0], "repository": repository}
        texts = {**texts, "filter.tag.tag": "", "filter.expression": json.dumps(condition, ensure_ascii=False)}
    for name, option in _OPTIONS.items():
        text = texts.get(name, "")
        values = split_texts(text) if name in ("filter.branch.branch", "filter.tag.tag", "tag.allow") else [text]
        if name == "verify.claims":
            values = text.replace(" = ", "=").splitlines()
        start = "header=" if name == "verify.header" else ""
        words += [word for value in values if value for word in (option, start + value)]
    if "skip_unchanged" in texts:
        words.append("--skip-unchanged")
    return " ".join(quote(word) for word in words)


def find_reach_problem(url: str, sender: Sender) -> Finding | None:
    """Return why a sender cannot reach a URL, or why the URL is unsafe; None if there is no problem."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    place = f"{parts.scheme}://{parts.netloc}"
    fix = "Give the server a public name with TLS, and set TUTUMD_PUBLIC_URL to its https:// address."
    if is_local(host) and sender.key == "curl":
        return warning(
            SUBJECT,
            f"The URL begins with {place}, which is this machine. Only programs on this machine can call it.",
            fix,
        )
    if is_local(host):
        return wrong(
            SUBJECT,
            f"The URL begins with {place}, which is this machine. {sender.name} cannot reach it from elsewhere.",
            fix,
        )
    if _is_private(host) and sender.is_remote:
        return warning(
            SUBJECT, f"{place} is in a private network. {sender.name} cannot reach it from the internet.", fix
        )
    if parts.scheme != "https":
        return warning(
            SUBJECT,
            f"{place} has no TLS. Anyone on the way can read this URL, which is a password.",
            "Put a proxy with TLS in front of the server, and set TUTUMD_PUBLIC_URL to its https:// address.",
        )
    return None


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)
