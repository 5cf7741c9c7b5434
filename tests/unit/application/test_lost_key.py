"""A handler whose secrets cannot be decrypted is still shown, changed and given new ones."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.application.made_handlers import CIPHER, NOW, make_handler
from tutumd.application import calls, handlers
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.evaluate import read_stored
from tutumd.errors import NotFoundError, SettingsError
from tutumd.model import EvaluationNeeded, Handler, NewHandler

NEW = SecretCipher([make_key()])
HANDLER = make_handler({"verify": {"preset": "github", "secrets": ["first"]}, "show_log": True})
_ANY: Any = None


def change(**fields: object) -> Handler:
    """Return the handler after a change on a server with another key."""

    def change_handler(
        _viewer: Any, _service: str, _uuid: str, apply: Callable[[Handler], NewHandler], **_: bool
    ) -> Handler:
        wanted = apply(HANDLER)
        return replace(HANDLER, name=wanted.name, options=wanted.options)

    store: Any = SimpleNamespace(change_handler=change_handler)
    return handlers.change(store, _ANY, "s", "h", fields, handlers.FieldContext(cipher=NEW, now=NOW, issuers={}))


@pytest.mark.parametrize("preset", ["github", "standard-webhooks", "gitlab", "token"])
@pytest.mark.parametrize("secrets", [["whsec_YWJj", "whsec_ZGVm"], ["whsec_" + "YWJj" * 248]], ids=["two", "long"])
def test_it_is_shown_with_the_number_of_its_secrets(preset: str, secrets: list[str]) -> None:
    handler = make_handler({"verify": {"preset": preset, "secrets": secrets}})
    shown = handlers.public_options(handler)
    assert shown["verify"] == {"preset": preset, "secrets_set": len(secrets)}


def test_other_fields_are_changed_and_the_secrets_stay() -> None:
    read = read_stored(change(enabled=False, show_log=None).options, CIPHER)
    assert (read.enabled, read.show_log) == (False, False)
    assert read.verify is not None
    assert read.verify.secrets == ("first",)


def test_its_secrets_can_be_replaced_or_removed_and_not_kept() -> None:
    read = read_stored(change(verify={"preset": "github", "secrets": ["second"]}).options, NEW)
    assert read.verify is not None
    assert read.verify.secrets == ("second",)
    assert read_stored(change(verify=None).options, NEW).verify is None
    with pytest.raises(SettingsError, match="set the secrets of the handler again"):
        change(verify={"preset": "gitea"})


@pytest.mark.parametrize("fields", [{"enabled": False}, {"allow_from": ["192.0.2.0/24"]}, {"max_uses": 3}])
def test_it_is_not_found_where_it_cannot_be_called_anyway(fields: dict[str, object]) -> None:
    cache = calls.AdmissionCache(NEW)
    needed = EvaluationNeeded(options=HANDLER.options, version=1, uses=3)
    with pytest.raises(SettingsError):
        cache.read_callable(("s", "h"), needed, "198.51.100.1", NOW)
    closed = EvaluationNeeded(options={**HANDLER.options, **fields}, version=2, uses=3)
    with pytest.raises(NotFoundError):
        cache.read_callable(("s", "h"), closed, "198.51.100.1", NOW)
