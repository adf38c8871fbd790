"""Calibration: from measured samples to law parameters with units, and what they leave unexplained."""
