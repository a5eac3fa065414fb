"""What customers want, whether or not a shelf has it: the mean of every series and day, and the draw around it.

Nothing here knows of stock; of the rest of the simulator only the truth and the stores' customers see it.
"""
