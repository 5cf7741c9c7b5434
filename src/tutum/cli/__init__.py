"""The `tutum` command."""

import io
import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 the operation failed, 2 wrong usage, 3 API error."""
    from tutum.cli.app import run  # loads the CLI library, which `tutumd` does not need for its tables

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # PEP 686: Python 3.15 does so in every locale
    run(sys.argv[1:])
