"""The `tutum` command. Help and version are printed without loading the commands."""

import io
import os
import sys

from tutum.cli.overview import overview
from tutum.version import __version__


def main() -> None:
    """Run the command line and exit: 0 done, 1 the operation failed, 2 wrong usage, 3 API error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # PEP 686: Python 3.15 does so whatever the locale is
    arguments = sys.argv[1:]
    if "_TUTUM_COMPLETE" not in os.environ:
        if not arguments or arguments[0] in {"--help", "-h"}:
            print(overview())
            return
        if arguments[0] in {"--version", "-v"}:
            print(f"tutum {__version__}")
            return
    from tutum.cli.app import run  # loads the CLI library

    run(arguments)
