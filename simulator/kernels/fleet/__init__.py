"""Fleets of replicas, compiled: jobs that wait for each other, pools of unlike devices, caches, failures, scaling.

``simulator.kernels.serving`` runs equal replicas of one pool through whole iterations at once; what has more to it is
run here, each sequence of a batch looked at in every iteration. Where both can run a thing they agree to the bit.
"""
