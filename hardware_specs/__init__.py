"""Facts of hardware: devices, links, systems and prices, each number with unit, source and date."""
