"""Calls: the handlers that they call, the actions that they join, and their deliveries."""
