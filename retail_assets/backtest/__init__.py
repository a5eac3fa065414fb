"""How forecasts are put to the test: the rivals that a model is judged against in the same run, and the pictures of it.

Belongs here: forecasts of rivals from one origin, charts. Does not belong here: measures (`domain.accuracy`), the model
itself and its features (`assets`), the command.
"""
