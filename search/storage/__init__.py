"""The run folder and its study: run.json, study.db, lease and logs. Knows no Ray.

Imports `process`; every wing above may import it, `runtime` may not. Only `ledger` writes to a running study, and it
decides nothing.
"""
