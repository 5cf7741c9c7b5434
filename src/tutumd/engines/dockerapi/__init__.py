"""What the engines `docker` and `swarm` share: one connection to a Docker Engine, registries, labels, output."""

from tutumd.engines.dockerapi.connection import Client, connect
from tutumd.engines.dockerapi.failures import looking, translated
from tutumd.engines.dockerapi.output import tail
from tutumd.engines.dockerapi.references import ImageReference, names_image_by_id, parse_reference
from tutumd.engines.dockerapi.registry import pull, registry_auth, resolve_digest
from tutumd.engines.dockerapi.times import parse_time
from tutumd.engines.labels import IGNORE, OWNER, SERVICE, Json, is_true, own_labels, owner_of

__all__ = [
    "IGNORE",
    "OWNER",
    "SERVICE",
    "Client",
    "ImageReference",
    "Json",
    "connect",
    "is_true",
    "looking",
    "names_image_by_id",
    "own_labels",
    "owner_of",
    "parse_reference",
    "parse_time",
    "pull",
    "registry_auth",
    "resolve_digest",
    "tail",
    "translated",
]
