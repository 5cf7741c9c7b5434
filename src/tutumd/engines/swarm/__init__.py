"""The engine `swarm`: services of a Docker Swarm, redeployed by rolling update."""
