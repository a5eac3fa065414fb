"""From a day's events to messages on a broker: contract, faults, order and pace, and taking up where it ended.

Nothing here simulates; days come from a source.
"""
