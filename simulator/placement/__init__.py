"""Work on the pools of a system: rules, units and their links, programs for the engine, and what they add up to."""
