"""What a machine is: its processor, memory, software, settings, GPUs; and how busy it is."""
