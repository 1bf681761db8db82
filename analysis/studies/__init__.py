"""Studies as tidy tables.

Imports wording alone."""
