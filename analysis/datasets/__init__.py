"""What the data of a run look like.

Imports wording alone."""
