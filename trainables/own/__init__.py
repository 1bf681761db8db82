"""Training code of the user's own: a loop or a class as a `Trainable`.

Imports `files` and `trainable`, none of our networks; spaces, search and rungwise may import it.
"""
