"""The engine `docker`: services of plain and compose containers on one Docker Engine."""

from tutumd.engines.docker.engine import DockerEngine
from tutumd.engines.docker.own import find_own_container_id

__all__ = ["DockerEngine", "find_own_container_id"]
