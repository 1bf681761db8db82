"""What every process needs: options, signals such as Ctrl-C, output, environment, scratch folders, text.

Imports no other wing of search; every other wing may import it.
"""
