"""Figures of the page of a capacity: a new one is a file here and its place in ``capacity_page``."""
