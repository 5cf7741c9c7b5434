"""The command `tutumd`: the only place that reads settings and builds objects."""


def main() -> None:
    """Run the command line."""
    from tutumd.main import commands  # the worker of a server does without it

    commands.main()
