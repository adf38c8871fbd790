"""Validation: predictions beside measurements, row by row, and how far off they are."""
