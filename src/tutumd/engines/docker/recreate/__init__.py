"""Create requests that reproduce an existing container."""
