"""Multilayer perceptrons for scikit-learn's diabetes table (442 patients, regression), no download.

    python -m search.run --space diabetes_mlp

Size: 14 to 17 parameters, those of `tabular_mlp`.
"""

from dataclasses import replace

from spaces import tabular_mlp

SPACE = replace(tabular_mlp.SPACE, dataset="diabetes")
