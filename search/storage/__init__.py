"""The run folder and its study: run.json and study.db. Knows no Ray.

Imports process. Only `ledger` writes to the study of a running search, and it decides nothing."""
