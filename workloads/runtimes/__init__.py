"""Software runtimes: what runs the workload, as a few numbers shared across devices."""
