"""Figures of the page of a recommendation: a new one is a file here and its place in ``recommendation_page``."""
