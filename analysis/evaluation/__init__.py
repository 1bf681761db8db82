"""The final evaluation: networks on fresh seeds, the sealed test set, final.json.

Imports model, plots, prose and below."""
