"""The figures of a study, one file each; a module here defines ``FIGURE`` and stands in ``reports.study_page``."""
