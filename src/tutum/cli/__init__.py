"""The `tutum` command."""

from tutum.cli.app import main as main
