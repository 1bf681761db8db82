"""The networks of `digits_arch` for digits among pieces of other digits (16x16, no download): the demo.

    python -m search.run --space clutter_arch

Size: 19 to 27 parameters, as in `digits_arch`.

Run time: about two minutes for 40 trials on two cores. The digits alone are easy: the baseline of `digits_arch` has
98 % of the test rows. Here the same baseline has 87 %, so that a search can gain something. A quarter of the rows
validates: with a tenth, 144 rows, the best of 40 trials is partly luck.
"""

from dataclasses import replace

from spaces import digits_arch

SPACE = replace(digits_arch.SPACE, dataset="cluttered_digits", epochs=18, validation_fraction=0.25)
