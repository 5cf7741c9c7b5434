"""The command `tutumd`: the only place that reads settings and builds objects."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tutumd.errors import TutumdError, UnavailableError, escape


def main() -> None:
    """Run the command line."""
    with told_errors():
        if sys.argv[1:] in (["healthcheck"], ["healthcheck", "--live"]):
            from tutumd.main.healthcheck import check_health  # everything that is slow to import stays out

            print(check_health(os.environ, live="--live" in sys.argv))
            return
        from tutumd.main.commands import app  # the worker of a server does without it

        app()


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn an error that was raised on purpose into one line on standard error, and exit code 1."""
    try:
        yield
        return
    except ModuleNotFoundError as error:
        if (error.name or "tutumd").startswith(("tutum", "tests")):
            raise
        from tutumd.main.missing import tell_missing

        text = tell_missing(error.name or "")
    except UnavailableError as error:
        from tutumd.store.sql.faults import explain

        text = f"{error}: {explain(error)[0]}"
    except TutumdError as error:
        text = str(error)
    text = escape(text)
    # Not loaded here: it is slow to import, and not always installed.
    if (logs := sys.modules.get("tutumd.logs")) and logs.writes_json:
        logging.getLogger(__name__).critical(text)
    else:
        print(f"tutumd: {text}", file=sys.stderr, flush=True)
    raise SystemExit(1)
