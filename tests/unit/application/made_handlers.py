"""Handlers that a JSON document creates, and what a change of one would change, without a store."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from tutumd.application import handlers as rules
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.identity import read_issuers
from tutumd.model import Handler
from tutumd.settings import Settings
from tutumd.web.messages.senders import SENDERS
from tutumd.web.pages.connect_inputs import fill_form
from tutumd.web.pages.handler_form import make_form, read_form

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CIPHER = SecretCipher([make_key()])
ISSUERS = read_issuers((*Settings.model_fields["oidc_issuer"].default, "forgejo=https://git.example/api/actions"))
FIELDS = rules.FieldContext(cipher=CIPHER, now=NOW, issuers=ISSUERS)
_ANY: Any = None


def make_handler(document: dict[str, Any]) -> Handler:
    """Return the handler that a document creates."""
    made: list[Handler] = []

    def add(_viewer: object, _service: str, entries: Any) -> tuple[Handler, ...]:
        for new in entries:
            fields = {"name": new.name, "operation": new.operation, "options": json.loads(json.dumps(new.options))}
            made.append(Handler(uuid="u", service_uuid="s", created=NOW, **fields))
        return tuple(made)

    store: Any = SimpleNamespace(add_handlers=add)
    return rules.create(store, _ANY, "s", [document], FIELDS)[0]


def plan(handler: Handler, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a change of the handler would change."""
    store: Any = SimpleNamespace(handler=lambda *_: handler)
    return dict(rules.plan_change(store, _ANY, "s", "u", document, FIELDS).changes)


def texts_of(handler: Handler | None) -> dict[str, str]:
    """Return what a browser sends for a form that nobody touched."""
    sent = {"name": (handler.name if handler else "") or "", "operation": handler.operation if handler else "REDEPLOY"}
    for group in make_form(handler):
        for field in group["fields"]:
            for each, text in (*field["inputs"], *([field["json"]] if field["json"] else [])):
                sent[each.name] = text.replace("\n", "\r\n")
    return sent


def connect(key: str, sent: Mapping[str, str], secret: str = "") -> dict[str, Any]:
    """Return the document that the form of a sender makes."""
    document, errors = read_form(fill_form(SENDERS[key], sent, secret), None, NOW)
    assert not errors, errors
    return document
