"""Ray itself: started on this machine or joined, watched, and shut down.

Imports `process`; every wing above may import it, `storage` may not. Only this wing and `execution` import Ray.
"""
