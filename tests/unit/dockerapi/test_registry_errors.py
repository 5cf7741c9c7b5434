"""What is said of an error of a registry."""

import pytest

from tutumd.engines.dockerapi.failures import with_advice


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("manifest unknown: manifest unknown", "manifest unknown"),
        (
            "manifest for app:v9 not found: manifest unknown: manifest unknown",
            "manifest for app:v9 not found: manifest unknown",
        ),
        ("unknown: manifest unknown", "unknown: manifest unknown"),
        ("pull access denied: denied", "pull access denied"),
        ("no route to host", "no route to host"),
    ],
)
def test_a_description_that_repeats_the_name_of_an_error_is_left_out(text: str, said: str) -> None:
    assert with_advice(text) == said
