"""Where data come from: one file for each data set, the catalogue of all, and `load`.

Imports `images`, `data` and `files`; models, augmentation and what is above them may import it.
"""
