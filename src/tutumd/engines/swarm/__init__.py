"""Services of a Docker Swarm: redeployed by rolling update, scaled by their number of replicas."""

from tutumd.engines.swarm.engine import SwarmEngine

__all__ = ["SwarmEngine"]
