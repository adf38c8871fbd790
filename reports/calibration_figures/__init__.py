"""The figures of a calibration, one file each; a module here that defines ``FIGURE`` is on the next page."""
