"""The winner as a thing to use: written, loaded, asked.

Imports scores and below."""
