"""`tutumd`, whose local engine gives processes an hour to end: a test decides when a redeploy goes on, and not a time.

Without arguments it is the worker of its `tutumd serve`.
"""

import sys

from tutumd.main import child_process


def main() -> None:
    """Run the command line, or the worker."""
    if sys.argv[1:]:
        child_process.COMMAND = (sys.executable, "-P", "-u", __file__)
        from tutumd.main import main as run  # binds the command

        run()
        return
    from tutumd.engines.local.engine import LocalEngine
    from tutumd.main.work import work_for_edge

    (LocalEngine.__init__.__kwdefaults__ or {})["grace_s"] = 3600.0
    work_for_edge()


main()
