"""The names of the models in a backtest, apart from what is slow to import.

Does not belong here: the models.
"""

from typing import Final

#: The project's own model among the rivals.
OURS: Final = "retail"
#: Rivals that take seconds for all series, and those that are asked for a sample of them where there are many.
QUICK: Final = ("seasonal_naive", "mean_28", "lightgbm")
SLOW: Final = ("auto_ets", "croston_sba", "mllib_gbt")
RIVALS: Final = (*QUICK, *SLOW)
