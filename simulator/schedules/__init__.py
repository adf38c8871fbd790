"""Pipeline schedules as data: what each rank does in which order, how long that takes, and what it keeps in memory.

Numbers in, numbers out: times and bytes of stages are given; no model and no hardware is known here.
"""
