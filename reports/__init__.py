"""What a person looks at: one page engine and registered figures. Reads results, knows nothing of the simulator."""
