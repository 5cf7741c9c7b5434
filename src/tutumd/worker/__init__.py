"""The worker claims due actions, performs them on an engine and stores the results. It never sees HTTP."""
