"""What every process needs: options, signals, output, environment, scratch folders, text.

Imports no other wing of search; every other wing may import it.
"""
