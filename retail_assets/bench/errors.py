"""The error of a benchmark. Does not belong here: a slow result, which is a figure and no error."""


class BenchError(Exception):
    """The benchmark can't run here, or what it ran was not what it was meant to measure. The message says why."""
