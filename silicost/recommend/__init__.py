"""Which hardware for a workload: every device of the catalogue under its best plan, ranked, and why others lose."""
