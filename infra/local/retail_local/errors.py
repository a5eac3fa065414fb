"""The base of every error that the local stack explains to a person.

Belongs here: the base class alone. Each module raises its own subclass, whose message is one clear line: what is
wrong, and what to do about it.
"""


class StackError(Exception):
    """Something about the local stack is wrong. `str(error)` is ready to be shown as it is."""
