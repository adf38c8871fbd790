"""Live forms of figures: plots of Bokeh that stand on still pictures."""
