"""A retailer's own history, from files into the lake.

Belongs here: reading, understanding, checking and writing files that a retailer brings. Does not belong here: the
command's arguments (`import_data`), and turning what was imported into facts of the core layer (`assets`).

The order of the modules is that of an import: `columns` and `reading` open the files, `dates` and `numbers` decide how
they write, `checking` takes the rows apart into accepted and rejected, `buckets` settles repeated and replaced rows a
few days at a time, `reference` and `defaults` derive the master data, `writing` commits, `report` tells.
"""
