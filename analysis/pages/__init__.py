"""The report page.

Imports everything below."""
