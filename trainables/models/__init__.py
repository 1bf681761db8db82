"""Networks, each a frozen configuration with `build(dataset)`, and what they cost.

Imports `data`; `training` and what is above it may import it, `augmentation` may not.
"""
