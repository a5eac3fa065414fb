"""Where assets are kept: Delta tables in the lake, tables in the warehouse.

Belongs here: the write protocols (all or nothing, twice gives the same) and reading back. Does not belong here: what is
in a table.
"""
