"""The final evaluation: networks on fresh seeds, the sealed test set, final.json.

Imports every other wing of analysis; only the commands import it.
"""
