"""The error of an import that can't be done.

Belongs here: the class alone. Each module says what is wrong where it finds it.
"""


class ImportRefusedError(Exception):
    """Nothing was imported. The message says in one line what is wrong, and what to do."""
