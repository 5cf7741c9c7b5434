"""The command `tutumd`: the only place that reads settings and builds objects."""

from collections.abc import Iterator
from contextlib import contextmanager

from tutumd.errors import TutumdError, UnavailableError


def main() -> None:
    """Run the command line."""
    with told_errors():
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
        text = f"{error.name} is not installed: install tutumd with the extra `server`, see docs/how-to/install.md"
    except UnavailableError as error:
        from tutumd.store.faults import explain

        text = f"{error}: {explain(error)[0]}"
    except TutumdError as error:
        text = str(error)
    from tutumd import logs

    logs.print_error(text)
    raise SystemExit(1)
