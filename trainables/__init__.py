"""Trains one configuration: knows PyTorch, neither Ray nor Optuna.

Imports none of the other packages; every one of them may import it.
"""
