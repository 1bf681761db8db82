"""The run folder and its study: run.json, study.db, lease and logs.

`study` makes a study, `lease` holds it, and only `ledger` writes trials to it. Imports `process`; every wing above may
import it, `runtime` may not. Does not import Ray.
"""
