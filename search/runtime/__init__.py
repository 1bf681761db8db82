"""A Ray that is up: started on this machine or joined, watched, and cleared away.

Imports `process`; every wing above may import it, `storage` may not. With `execution` the only wing that knows Ray.
"""
