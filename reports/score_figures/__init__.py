"""The figures of a scorecard, one file each; a module here that defines ``FIGURE`` is on the next page."""
