"""The `tutum` command. It prints its version without loading the commands."""

import io
import sys

from tutum.version import __version__


def main() -> None:
    """Run the command line and exit: 0 done, 1 the operation failed, 2 wrong usage, 3 API error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # PEP 686: Python 3.15 does so in every locale
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-v"]):
        print(f"tutum {__version__}")
        return
    from tutum.cli.app import run  # loads the CLI library

    run(arguments)
