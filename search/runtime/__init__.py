"""A Ray that is up: started on this machine or joined, watched, and cleared away.

Imports process. With `execution` the only wing that knows Ray."""
