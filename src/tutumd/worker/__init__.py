"""The worker: claims due actions, performs them on an engine, finishes them. Never sees HTTP."""
