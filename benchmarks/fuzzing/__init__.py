"""Inputs made at random, with the right answer known by construction: what goes in, what must come out."""
