"""Program that writes to a database as another process of tutumd does. Usage: `… DATABASE_URL`.

It answers each line of its standard input with one line:

- `begin`: begins a transaction that writes.
- `commit`: commits it.
- `flood`: commits one transaction after the other until the next line.
- `child`: starts a process that inherits what can be inherited, and answers with its number.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from select import select

import sqlalchemy as sa

from tutumd.store.sql.database import Database

INSERT = sa.text("INSERT INTO meta VALUES (hex(randomblob(16)), :writer)")


def main() -> None:
    """Obey until the input ends."""
    database, transaction = Database(sys.argv[1]), ExitStack()
    for line in iter(sys.stdin.readline, ""):
        command = line.strip()
        if command == "begin":
            connection = transaction.enter_context(database.write())
            connection.execute(INSERT, {"writer": "program"})
            print("began", flush=True)
        elif command == "commit":
            transaction.close()
            print("committed", flush=True)
        elif command == "flood":
            print("flooding", flush=True)
            _flood(database)
            print("written", flush=True)
        elif command == "child":
            print(subprocess.Popen(["sleep", "60"], close_fds=False).pid, flush=True)


def _flood(database: Database) -> None:
    while not select([sys.stdin], [], [], 0)[0]:
        with database.write() as connection:
            connection.execute(INSERT, {"writer": str(os.getpid())})


main()
