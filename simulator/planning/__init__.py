"""Placement found: an additive cost model of work on pools, its exact solvers, the engine's word on the best."""
