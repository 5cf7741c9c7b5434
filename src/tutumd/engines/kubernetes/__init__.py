"""The engine `kubernetes`. Needs the official client, which the extra `kubernetes` installs."""

from tutumd.engines.kubernetes.connection import find_access
from tutumd.engines.kubernetes.engine import KubernetesEngine

__all__ = ["KubernetesEngine", "find_access"]
