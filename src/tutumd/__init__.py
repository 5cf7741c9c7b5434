"""tutumd: redeploys and scales services of containers when their webhook handlers are called."""

import sys
from contextlib import suppress

if "rich" not in sys.modules and "healthcheck" not in sys.argv:  # which loads nothing slow
    # structlog would import rich to format tracebacks, which tutumd's logs do not use. That costs 5 MB and 40 ms of
    # processor time in each process.
    sys.modules["rich"] = None  # type: ignore[assignment]
    with suppress(ModuleNotFoundError):  # only the command line and the SDK may be installed
        import structlog  # noqa: F401
    del sys.modules["rich"]
