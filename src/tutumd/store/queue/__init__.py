"""Actions on their way: claims, leases, ends, and what workers report of their engines."""
