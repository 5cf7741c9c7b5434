"""The parts that pages are made of."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.dashboard_bed import template_environment
from tutumd.errors import Reason
from tutumd.model import ActionState, ContainerState, DeliveryOutcome, Hold, HoldKind, ServiceState
from tutumd.web.pages.rendering import duration, relative, short_digest, verb

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def macros() -> Any:
    """Return the macros as pages know them."""
    environment = template_environment()
    known = {"asset": lambda path: f"/static/{path}", "root": "", "csrf": "the-token", "now": NOW}
    return environment.get_template("macros.html").make_module(known)


ui = macros()


@pytest.mark.parametrize("word", [*ActionState, *ServiceState, *ContainerState, *DeliveryOutcome])
def test_every_state_has_an_icon_of_its_own_and_its_word(word: str) -> None:
    html = ui.state(word)
    assert f"<span>{word.capitalize()}</span>" in html
    assert "#circle-dot" not in html  # the icon of what is not known


def test_an_unknown_state_is_shown_by_its_word() -> None:
    assert "<span>Odd</span>" in ui.state("odd")


def test_a_held_action_says_when_it_may_begin() -> None:
    until = NOW + timedelta(hours=4)
    debounce, held, endless = (
        Hold(kind=kind, until=end, reason=Reason("held"))
        for kind, end in ((HoldKind.DEBOUNCE, until), (HoldKind.HOLD, until), (HoldKind.HOLD, None))
    )
    for holds, end in (((debounce,), ", if no more calls come."), ((debounce, held), "in 4 h</time>.")):
        html = ui.held({"held_until": until, "holds": holds})
        assert "in 4 h" in html and html.endswith(end)
    assert ui.held({"held_until": None, "holds": (endless,)}) == ""


def test_verbs_are_words_for_people() -> None:
    assert [verb(each) for each in ("REDEPLOY", "SCALEUP", "ROLLBACK")] == ["Redeploy", "Scale up", "Roll back"]


def test_code_is_marked_up_and_everything_stays_text() -> None:
    html = ui.code_spans("set `<b>` and `b`, & <i>.")
    assert html == "set <code>&lt;b&gt;</code> and <code>b</code>, &amp; &lt;i&gt;."


def test_a_disabled_button_says_why() -> None:
    html = ui.button("Scale", "/scale", confirm="Sure?", disabled="an autoscaler decides")
    assert 'disabled title="an autoscaler decides"' in html
    assert "<details" not in html


def test_a_field_is_tied_to_its_label_help_and_error() -> None:
    html = ui.field("amount", "Amount", value="0", help="1 to 100.", error="got 0", required=True)
    assert '<label for="f-amount">' in html
    assert 'aria-describedby="f-amount-help f-amount-error" aria-invalid="true" required' in html
    assert 'id="f-amount-help"' in html
    assert 'id="f-amount-error"' in html


def test_a_text_area_keeps_a_first_empty_line() -> None:
    assert ">\n\nfirst</textarea>" in ui.field("body", "Body", value="\nfirst", type="textarea")


def test_a_diff_names_what_went_what_stayed_and_what_came() -> None:
    html = ui.diff(["a1", "b2"], ["b2", "c3"])
    assert re.findall(r"(\w+): </span>(?:<\w+>)?(\w+)", html) == [("before", "a1"), ("kept", "b2"), ("after", "c3")]
    assert "unchanged" in ui.diff("sha256:1", "sha256:1")
    assert "before: unknown" in ui.diff(None, "sha256:1")


def test_a_log_is_one_text_or_lines_with_their_time() -> None:
    line = {"number": 7, "at": NOW, "text": "pulled"}
    assert "<p>one</p><p>two</p>" in ui.log("one\ntwo")
    assert 'id="line-7"' in ui.log([line])
    assert ">12:00:00</time> pulled</p>" in ui.log([line])


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59.9), "59 s ago"),
        (timedelta(minutes=3, seconds=59), "3 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=30), "2026-02-02"),
        (-timedelta(hours=2), "in 2 h"),
        (-timedelta(days=6, hours=23, minutes=59), "in 7 days"),
    ],
)
def test_a_moment_is_said_in_relation_to_now(ago: timedelta, text: str) -> None:
    assert relative(NOW - ago, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (0.9999, "1 s"),
        (4.24, "4.2 s"),
        (3, "3 s"),
        (59.4, "59 s"),
        (184, "3 min 4 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_moments_and_digests_are_written_for_machines_and_for_people() -> None:
    assert short_digest("sha256:0123456789abcdef") == "0123456789ab"
    assert 'datetime="2026-03-04T12:00:00.000Z" title="2026-03-04 12:00:00 UTC">just now<' in ui.time(NOW)
    assert "never" in ui.time(None)
