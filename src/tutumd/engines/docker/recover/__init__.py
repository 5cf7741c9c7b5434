"""Recovery: the way back to the old containers."""
