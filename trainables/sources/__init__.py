"""The data sets: one file for each, the catalogue of all, and `load`.

Imports `images`, `data` and `files`; models, augmentation and what is above them may import it.
"""
