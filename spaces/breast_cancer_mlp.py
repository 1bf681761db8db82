"""Multilayer perceptrons for scikit-learn's breast cancer table (569 tumours, two classes), no download.

    python -m search.run --space breast_cancer_mlp

Size: 14 to 17 parameters, those of `tabular_mlp`.
"""

from dataclasses import replace

from spaces import tabular_mlp

SPACE = replace(tabular_mlp.SPACE, dataset="breast_cancer")
