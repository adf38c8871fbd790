"""Decisions under uncertainty: which alternative is the best, how sure that is, and which measurement would tell."""
