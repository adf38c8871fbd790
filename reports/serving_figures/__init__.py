"""Figures of the page of a served run: each file defines ``FIGURE``."""
