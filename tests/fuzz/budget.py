"""The budget of the fuzz tests: always the same examples, so that a run of CI finds what the last one found."""

import os
from typing import Any

from hypothesis import HealthCheck, settings


def budget(examples: int, **others: Any) -> settings:
    """Return settings for so many examples. TUTUMD_TEST_FUZZ=N multiplies them, and draws other ones at each run."""
    factor = int(os.environ.get("TUTUMD_TEST_FUZZ", "0"))
    return settings(
        max_examples=examples * (factor or 1),
        derandomize=not factor,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        **others,
    )
