"""Trains one configuration: knows PyTorch, neither Ray nor Optuna."""
