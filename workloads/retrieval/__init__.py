"""Retrieval: indexes of vectors, and what the search of a batch of queries asks of a device."""
