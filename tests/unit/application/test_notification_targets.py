"""What users may set on notification targets, and what is shown of it."""

from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest

from tutumd.application import target_settings
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.notification_targets import check_target, decrypted, shown_settings
from tutumd.errors import InvalidInputError
from tutumd.model import User
from tutumd.model.notifications import DEFAULT_EVENTS, Event, NewTarget, Target, TargetKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CIPHER = SecretCipher([make_key()])
ADMIN, MEMBER = (User(uuid="u", name="u", is_admin=is_admin, created=NOW) for is_admin in (True, False))
HOME = [ip_network("192.168.0.0/16")]
HOOK = {"url": "https://hooks.example.com/T0KEN?key=1"}
GITHUB = {"forge": "github", "repository": "shop/web", "token": "ghp_1"}
GITLAB = {"forge": "gitlab", "repository": "a/b/c.d", "token": "glpat-1"}


def check(viewer: User = ADMIN, before: Target | None = None, **document: Any) -> NewTarget:
    return check_target(document, viewer, cipher=CIPHER, allowed=HOME, before=before)


def stored(kind: str, settings: dict[str, Any], **fields: Any) -> Target:
    new = check(name="oncall", kind=kind, settings=settings, **fields)
    values = {name: getattr(new, name) for name in NewTarget.__slots__}
    return Target(**values, uuid="t", number=1, owner="u", owner_is_admin=True, created=NOW)


@pytest.mark.parametrize(
    ("kind", "settings", "plain", "shown"),
    [
        ("webhook", {"url": "https://a.example/x", "secret": "whsec_" + "A" * 32}, {}, {"url": "https://a.example/…"}),
        ("webhook", {"url": "http://192.168.1.2:8080"}, {}, {"url": "http://192.168.1.2:8080"}),
        ("webhook", {"url": "https://a.example/#topic"}, {}, {"url": "https://a.example/…"}),
        ("webhook", {"url": "http://nas.home/"}, {}, {"url": "http://nas.home/"}),
        ("apprise", {"url": "ntfy://topic"}, {}, {"url": "ntfy://…"}),
        ("apprise", {"url": "mailtos://me:p%20w@example.com?to=a@b.example"}, {}, {"url": "mailtos://…"}),
        ("apprise", {"url": "https://hooks.slack.com/services/T/B/topic"}, {}, {"url": "https://…"}),
        ("forge", GITHUB, {"api": "https://api.github.com", "context": ""}, {"repository": "shop/web"}),
        ("forge", GITLAB, {"api": "https://gitlab.com/api/v4"}, {}),
        ("forge", {**GITLAB, "repository": "12"}, {}, {"repository": "12"}),
        ("forge", {**GITLAB, "api": "https://git.example.com/"}, {"api": "https://git.example.com/api/v4"}, {}),
        ("forge", {**GITHUB, "forge": "gitea", "api": "https://x.example/git/api/v1/"}, {}, {}),
    ],
)
def test_settings_are_stored_without_secrets_in_plain_text(
    kind: str, settings: dict[str, Any], plain: dict[str, str], shown: dict[str, str]
) -> None:
    target = check(name="oncall", kind=kind, settings=settings)
    expected = {name: value.rstrip("/") if name == "api" else value for name, value in settings.items()} | plain
    assert decrypted(target, CIPHER).items() >= expected.items()
    assert shown_settings(target).items() >= shown.items()
    secrets = [settings.get(name) for name in ("token", "secret")] + (
        ["p%20w", "topic", "/x"] if kind != "forge" else []
    )
    assert not [secret for secret in secrets if secret and secret in f"{target.settings} {shown_settings(target)}"]


def test_defaults_depend_on_who_creates_the_target() -> None:
    targets = [check(viewer, name="a", kind="webhook", settings=HOOK) for viewer in (ADMIN, MEMBER)]
    assert [target.events for target in targets] == [DEFAULT_EVENTS, (Event.ACTION_FAILED, Event.ACTION_RECOVERED)]
    assert len({decrypted(target, CIPHER)["secret"] for target in targets}) == 2
    assert check(name="a", kind="forge", settings=GITHUB).events == ()


@pytest.mark.parametrize(
    ("document", "field", "wanted"),
    [
        ({"kind": "mail"}, "kind", "must be one of webhook, apprise, forge"),
        ({"kind": None}, "kind", "must be one of webhook"),
        ({"name": " "}, "name", "name must have 1 to"),
        ({"name": None}, "name", "name is missing"),
        ({"colour": 1}, "", "has no field 'colour'"),
        ({"settings": {**HOOK, "token": "x"}}, "", "settings has no field 'token'"),
        ({"settings": {}}, "url", "settings.url is missing"),
        ({"settings": {"url": "ftp://a.example"}}, "url", "must be like https://"),
        ({"settings": {"url": "https:///x"}}, "url", "must be like https://"),
        ({"settings": {"url": "https://a.example:99999"}}, "url", "must be like https://"),
        ({"settings": {"url": "https://[::1"}}, "url", "must be like https://"),
        ({"settings": {"url": "https://a.example/x y"}}, "url", "must be like https://"),
        ({"settings": {"url": "https://me:pw@a.example"}}, "url", "no user and password"),
        ({"settings": {"url": "http://10.0.0.1"}}, "url", "--notify-allow"),
        ({"settings": {**HOOK, "secret": "whsec_AAAA"}}, "secret", "24 to 64 bytes"),
        ({"settings": {**HOOK, "secret": "…"}}, "secret", "24 to 64 bytes"),
        ({"events": []}, "events", "at least one of action.failed"),
        ({"events": ["action.failed", "action.started"]}, "events", "must be one of action.failed"),
        ({"repeat": -1}, "repeat", "must be a whole number from 0"),
        ({"per_group_call": 1}, "per_group_call", "must be true or false"),
        ({"include_log": "yes"}, "include_log", "must be true or false"),
        ({"service": "s", "stack": "shop"}, "", "set one of them"),
        ({"kind": "apprise", "settings": {"url": "json://a.example"}}, "url", "begin with one of discord"),
        ({"kind": "apprise", "settings": {"url": "https://a.example"}}, "url", "kind webhook"),
        ({"kind": "apprise", "settings": {"url": "https://hooks.slack.com.a.example/x"}}, "url", "kind webhook"),
        ({"kind": "apprise", "settings": {"url": "msteams://a/b"}}, "url", "use workflows://"),
        ({"kind": "apprise", "settings": {"url": "slack://"}}, "url", "must be one Apprise URL"),
        ({"kind": "apprise", "settings": {"url": "ntfy://t, ntfy://u"}}, "url", "must be one Apprise URL"),
        ({"kind": "apprise", "settings": {"url": "ntfy://t?Attach=/etc/passwd"}}, "url", "the parameter 'Attach'"),
        ({"kind": "apprise", "settings": {"url": "workflows://t?%74emplate=/x"}}, "url", "the parameter 'template'"),
        ({"kind": "apprise", "settings": {"url": "discord://1/t?to=a;template=/x"}}, "url", "'template'"),
        ({"kind": "forge", "settings": {**GITHUB, "token": None}}, "token", "settings.token is missing"),
        ({"kind": "forge", "settings": {**GITHUB, "token": "a\nb"}}, "token", "without spaces"),
        ({"kind": "forge", "settings": {**GITHUB, "repository": ""}}, "repository", "settings.repository is missing"),
        ({"kind": "forge", "settings": {**GITHUB, "repository": "../web"}}, "", "must be like owner/name"),
        ({"kind": "forge", "settings": {**GITHUB, "repository": "a/b/c"}}, "", "must be like owner/name"),
        ({"kind": "forge", "settings": {**GITLAB, "repository": "a/../b"}}, "", "must be like group/name"),
        ({"kind": "forge", "settings": {**GITHUB, "forge": "gitea"}}, "", "api is missing"),
        ({"kind": "forge", "settings": {**GITHUB, "forge": "svn"}}, "forge", "must be one of github"),
        ({"kind": "forge", "settings": {**GITHUB, "api": "https://a.example?x"}}, "api", "must have no query"),
        ({"kind": "forge", "settings": GITHUB, "events": ["action.failed"]}, "events", "do not apply"),
    ],
)
def test_bad_input_gets_the_reason_and_what_to_do(document: dict[str, Any], field: str, wanted: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check(**{"name": "oncall", "kind": "webhook", "settings": HOOK, **document})
    assert wanted in str(caught.value)
    assert caught.value.field == field
    assert not [secret for secret in ("T0KEN", "me:pw", "/etc/passwd", "ghp_1") if secret in str(caught.value)]


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"kind": "apprise", "settings": {"url": "ntfy://topic"}}, "only admins may have targets of the kind apprise"),
        ({"kind": "webhook", "settings": HOOK, "events": "engine.up"}, "only admins may choose the events"),
    ],
)
def test_members_get_no_apprise_and_no_events_of_engines(document: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidInputError, match=wanted):
        check(MEMBER, name="oncall", **document)


def test_apprise_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_settings, "find_spec", lambda _: None)
    with pytest.raises(InvalidInputError, match=r"install tutumd\[notify\]"):
        check(name="oncall", kind="apprise", settings={"url": "ntfy://topic"})


def test_a_change_keeps_what_it_does_not_name_and_secrets_that_it_repeats_as_shown() -> None:
    before = stored("webhook", HOOK, events=["action.failed"], stack="shop", repeat=0)
    same = check(before=before, settings=shown_settings(before), name="night")
    assert (same.name, same.settings, same.events, same.stack, same.repeat_s) == (
        "night",
        before.settings,
        (Event.ACTION_FAILED,),
        "shop",
        0,
    )
    reset = check(before=before, settings={"secret": None}, events=None, stack=None, repeat=None)
    assert (reset.events, reset.stack, reset.repeat_s) == (DEFAULT_EVENTS, None, 3600)
    assert decrypted(reset, CIPHER)["url"] == HOOK["url"]
    assert decrypted(reset, CIPHER)["secret"] != decrypted(before, CIPHER)["secret"]
    with pytest.raises(InvalidInputError, match="kind cannot be changed"):
        check(before=before, kind="forge")


def test_a_token_is_not_sent_to_another_host_than_it_was_given_for() -> None:
    before = stored("forge", GITHUB)
    assert check(before=before, settings={"repository": "shop/api"}).settings["token"] == before.settings["token"]
    with pytest.raises(InvalidInputError, match="the stored token is for another forge or api"):
        check(before=before, settings={"api": "https://evil.example"})
    assert check(before=before, settings={"api": "https://ghe.example", "token": "t"}).kind is TargetKind.FORGE
