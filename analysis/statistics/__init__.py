"""Statistics that know no study: bootstrap, design matrices, projection.

Imports studies and datasets."""
