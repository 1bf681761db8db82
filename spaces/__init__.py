"""What may be searched: each module defines SPACE, a pure function of an Optuna trial."""
