"""What can be wrong with the data of a backtest. Does not belong here: the backtest."""


class BacktestError(Exception):
    """There is nothing that a backtest could be made of. The message says what has to come first."""
