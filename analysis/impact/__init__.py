"""Which hyperparameters matter, and how sure that is.

Imports statistics and below."""
