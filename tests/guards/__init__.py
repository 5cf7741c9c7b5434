"""Guards: the lines that keep the promises, and the proof that a test misses each of them."""
