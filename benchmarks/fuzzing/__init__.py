"""Random inputs whose right answer is known by construction."""
