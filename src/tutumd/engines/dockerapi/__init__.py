"""What the engines `docker` and `swarm` share: a client of the Docker Engine API."""
