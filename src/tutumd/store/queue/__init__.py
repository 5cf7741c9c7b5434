"""Actions before and during their runs: claims, leases, ends, and workers' reports about their engines."""
