"""What can be wrong with the data that a model is trained on. Does not belong here: training."""


class TooLittleHistoryError(Exception):
    """There are no days to learn from before the weeks that a model is judged on."""
