"""A handler whose secrets cannot be decrypted is still shown, changed and given new ones."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tutumd.application import calls, handlers
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.options import parse_options, read_stored, write_stored
from tutumd.errors import NotFoundError, SettingsError
from tutumd.model import EvaluationNeeded, Handler, NewHandler, Operation, User
from tutumd.ports.store import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADMIN = User(uuid="u", name="admin", is_admin=True, created=NOW)


class OneHandlerStore:
    """A store of one handler."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.handler = Handler(
            uuid="h", service_uuid="s", name="hook", operation=Operation.REDEPLOY, created=NOW, options=document
        )

    def change_handler(
        self, _viewer: User, _service: str, _uuid: str, change: Callable[[Handler], NewHandler], **_how: bool
    ) -> Handler:
        wanted = change(self.handler)
        self.handler = Handler(
            uuid="h",
            service_uuid="s",
            name=wanted.name,
            operation=wanted.operation,
            created=NOW,
            options=wanted.options,
        )
        return self.handler


def stored(preset: str, *secrets: str) -> tuple[OneHandlerStore, SecretCipher, SecretCipher]:
    old, new = SecretCipher([make_key()]), SecretCipher([make_key()])
    document = {"verify": {"preset": preset, "secrets": list(secrets)}, "show_log": True}
    return OneHandlerStore(write_stored(parse_options(document, NOW), old)), old, new


def change(store: OneHandlerStore, cipher: SecretCipher, **fields: object) -> Handler:
    return handlers.change(cast(Store, store), ADMIN, "s", "h", fields, cipher=cipher, now=NOW)


@pytest.mark.parametrize("preset", ["github", "standard-webhooks", "gitlab", "token"])
def test_it_is_shown_with_the_number_of_its_secrets(preset: str) -> None:
    store, _, _ = stored(preset, "whsec_YWJj", "whsec_ZGVm")
    shown = handlers.public_options(store.handler)
    assert shown["verify"] == {"preset": preset, "secrets_set": 2}


def test_a_handler_with_the_longest_secret_is_shown() -> None:
    store, _, _ = stored("github", "s" * 1000)
    assert handlers.public_options(store.handler)["verify"] == {"preset": "github", "secrets_set": 1}


def test_other_fields_are_changed_and_the_secrets_stay() -> None:
    store, old, new = stored("github", "first")
    changed = change(store, new, enabled=False, show_log=None)
    read = read_stored(changed.options, old)
    assert (read.enabled, read.show_log) == (False, False)
    assert read.verify is not None
    assert read.verify.secrets == ("first",)


def test_its_secrets_can_be_replaced_or_removed() -> None:
    store, _, new = stored("github", "first")
    read = read_stored(change(store, new, verify={"preset": "github", "secrets": ["second"]}).options, new)
    assert read.verify is not None
    assert read.verify.secrets == ("second",)
    assert read_stored(change(store, new, verify=None).options, new).verify is None


def test_keeping_secrets_that_cannot_be_decrypted_is_refused_with_advice() -> None:
    store, _, new = stored("github", "first")
    with pytest.raises(SettingsError, match="set the secrets of the handler again"):
        change(store, new, verify={"preset": "gitea"})


@pytest.mark.parametrize("fields", [{"enabled": False}, {"allow_from": ["192.0.2.0/24"]}, {"max_uses": 3}])
def test_it_is_not_found_where_it_cannot_be_called_anyway(fields: dict[str, object]) -> None:
    store, _, new = stored("github", "s3cr3t")
    cache = calls.AdmissionCache(new)
    needed = EvaluationNeeded(options=store.handler.options, version=1, uses=3)
    with pytest.raises(SettingsError):
        cache.read_callable(("s", "h"), needed, "198.51.100.1", NOW)
    closed = EvaluationNeeded(options={**store.handler.options, **fields}, version=2, uses=3)
    with pytest.raises(NotFoundError):
        cache.read_callable(("s", "h"), closed, "198.51.100.1", NOW)
