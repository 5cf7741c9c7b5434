"""Runs the CLI as `python -m tutum`."""

from tutum.cli import main

if __name__ == "__main__":
    main()
