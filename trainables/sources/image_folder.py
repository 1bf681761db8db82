"""The user's own images, one folder for each class; `trainables.images` reads them."""

from trainables.sources.catalogue import Source

SOURCE = Source(about="Your own images: one folder for each class.")
