"""A search on Ray Tune: legs of trials on warm workers.

Imports scheduling and below, and runtime."""
