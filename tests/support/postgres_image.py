"""An image of Debian's PostgreSQL under the name that `deploy/swarm` gives, since none can be pulled."""

import io
import tarfile
from pathlib import Path

from tests.support import guards, postgres_bed
from tests.support.docker_bed import DockerBed
from tests.support.program_image import libraries, root

NAME = "postgres:17"
_USER = 999
_DATA = "var/lib/postgresql/data"
# What the image on Docker Hub does, as far as the stack depends on it.
_START = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" \\
        --auth=scram-sha-256 --no-locale --encoding=UTF8 --no-sync
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_USER" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


def load_into(bed: DockerBed) -> None:
    """Load the image into a bed."""
    programs = postgres_bed.programs()
    if programs is None:
        guards.lacking(postgres_bed.missing_postgres())
    path = f"ENV PATH={programs}:/bin"
    changes = ('CMD ["/start"]', f"USER {_USER}", path, f"VOLUME /{_DATA}")
    bed.docker("import", *(f"--change={change}" for change in changes), "-", NAME, stdin=_root(programs))


def _root(programs: Path) -> bytes:
    used = [programs / name for name in ("postgres", "initdb", "pg_isready")]
    files = {library: path for program in used for library, path in libraries(program).items()}
    files |= {str(program): program for program in used}
    folder = programs.parent / "lib"
    files |= {str(path): path for path in folder.glob("*.so") if "llvm" not in path.name}
    files["/usr/share/zoneinfo/UTC"] = Path("/usr/share/zoneinfo/UTC")
    share = Path("/usr/share/postgresql", programs.parent.name)
    out = io.BytesIO(root({**files, str(share): share}))
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name, kind, content in (("start", tarfile.REGTYPE, _START.encode()), (_DATA, tarfile.DIRTYPE, b"")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.mode, entry.uid, entry.gid = kind, len(content), 0o755, _USER, _USER
            tar.addfile(entry, io.BytesIO(content))
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(tmp)
    return out.getvalue()
