"""Image references: what is parsed is written again, and everything else is refused in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tutumd.engines.docker.plan.redeploy import with_tag
from tutumd.engines.labels import ImageReference, parse_reference
from tutumd.errors import EngineRefusedError

COMPONENT = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,2})[a-z0-9]{1,4}){0,2}", fullmatch=True)
HOST = st.sampled_from(
    ["docker.io", "index.docker.io", "localhost", "localhost:5000", "ghcr.io", "a.b:443", "[::1]:5000"]
)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
DIGEST = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@st.composite
def names(draw: st.DrawFn) -> str:
    host = draw(st.none() | HOST)
    path = "/".join(draw(st.lists(COMPONENT, min_size=1, max_size=3)))
    tag, digest = draw(st.none() | TAG), draw(st.none() | DIGEST)
    return (f"{host}/" if host else "") + path + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def parsed(text: str) -> ImageReference | None:
    try:
        return parse_reference(text)
    except EngineRefusedError as error:
        assert str(error)
        return None


@pytest.mark.slow
@budget(150)
@given(names())
def test_a_name_means_the_same_when_it_is_written_again(name: str) -> None:
    reference = parse_reference(name)
    again = parse_reference(reference.name)
    assert again.name == reference.name
    assert again.repository == reference.repository
    assert (again.tag, again.digest) == (reference.tag or (None if reference.digest else "latest"), reference.digest)


@budget(150)
@given(names(), TAG)
def test_another_tag_stays_in_its_repository(name: str, tag: str) -> None:
    changed = parse_reference(with_tag(name, tag))
    assert changed.repository == parse_reference(name).repository
    if changed.digest is None:
        assert (changed.tag or "latest") == tag
    assert with_tag(with_tag(name, tag), tag) == with_tag(name, tag)


@budget(150)
@given(st.text(max_size=60) | st.text("abc./:@-_AZ09", max_size=30) | st.from_regex(r"[a-z./:@]{1,20}"))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    reference = parsed(text)
    if reference is not None:
        assert parse_reference(reference.name).repository == reference.repository
