"""Closed forms for what has no contention: a static inference batch and a synchronous training step."""
