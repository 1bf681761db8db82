"""Reads studies and says what they show."""

import warnings

warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, as the first output of a notebook: no bar is drawn
