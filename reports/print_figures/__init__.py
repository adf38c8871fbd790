"""Figures for print, one file each; a module here that defines ``FIGURE`` can be exported."""
