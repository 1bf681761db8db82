"""Training code of the user's own: a loop or a class as a `Trainable`.

Imports files and `trainable`; knows none of our networks."""
