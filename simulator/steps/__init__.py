"""Closed forms: a static inference batch, a synchronous training step and what its parts are."""
