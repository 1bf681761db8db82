"""Multilayer perceptrons for scikit-learn's diabetes table (442 patients, regression), no download.

    python -m search.run --space diabetes_mlp

Size: 14 to 17 parameters, those of `tabular_mlp` without neighbours.

The baseline reaches an RMSE of 52.6 on the 71 validation rows, mean of 3 seeds (52.5, 52.8, 52.5).
"""

from dataclasses import replace

from spaces import tabular_mlp

SPACE = replace(tabular_mlp.SPACE_1, dataset="diabetes")
