"""Where data come from: one file for each data set, the catalogue of all, and `load`.

Imports data and files."""
