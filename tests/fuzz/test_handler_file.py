"""The file of handlers that `tutum` writes: what is written is read as it was."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tutum.cli.export import toml_line

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_KEYS = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True)
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.integers(-(2**63), 2**63 - 1), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(_KEYS, inner, max_size=4)),
)


@pytest.mark.slow
@budget(100)
@given(key=_KEYS, value=_VALUES)
def test_a_written_value_is_read_as_it_was(key: str, value: Any) -> None:
    assert tomllib.loads(toml_line(key, value)) == {key: value}
