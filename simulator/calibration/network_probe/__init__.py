"""Latency and bandwidth over message size, between processes of this host and between two hosts.

``measure.measure_network`` times; ``remote.listen`` is the other host's end. Messages go by the standard library alone.
"""
