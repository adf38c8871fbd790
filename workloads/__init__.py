"""What is asked of hardware: operators, graphs, models, phases, storage formats and software runtimes."""
