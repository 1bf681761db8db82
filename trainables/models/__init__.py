"""Networks, each a frozen configuration with `build(dataset)`, and what they cost.

Imports data."""
