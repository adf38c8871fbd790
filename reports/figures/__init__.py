"""The figures of a page, one file each; a module here that defines ``FIGURE`` is on the next page."""
