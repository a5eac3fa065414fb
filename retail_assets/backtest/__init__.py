"""How forecasts are put to the test: the rivals that a model is judged against in the same run, and the pictures of it.

Belongs here: the run, forecasts of rivals from one origin, tables and charts. Does not belong here: measures
(`domain.judgement`), the model itself (`training`), the command.
"""
