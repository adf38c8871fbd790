"""Probes: what calibration measures."""
