"""Lowering: from an architecture and a phase to the graph of operators of one device."""
