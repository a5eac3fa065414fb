"""The signs that a user can name for a file.

Belongs here: names of signs, without anything that is slow to import, for the command's own sake. Does not belong here:
finding out which sign a file uses (`reading`, `numbers`).
"""

from typing import Final

POINT: Final = "."
COMMA: Final = ","

DECIMALS: Final = {"point": POINT, "comma": COMMA}
SEPARATORS: Final = {"comma": COMMA, "semicolon": ";", "tab": "\t", "pipe": "|"}
