"""The report page, section by section.

Imports every wing of analysis but `evaluation`; `evaluation` and the commands may import it.
"""
