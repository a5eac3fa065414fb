"""How real the data are: the statistics of a lake beside those of real retailers, as an outsider counts them.

Nothing here may read the truth or the scenario.
"""
