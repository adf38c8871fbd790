"""Networks: topologies, and what a collective puts on a link."""
