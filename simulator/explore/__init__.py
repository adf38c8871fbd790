"""Exploration of design spaces: axes and samplers, stores, executors, search. Knows no model."""
