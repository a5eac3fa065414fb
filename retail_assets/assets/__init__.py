"""The assets, one module per layer. Thin: each calls a function of `domain` on what Spark hands it.

Does not belong here: what a number means (`domain`), how a table is kept (`io_managers`), and which assets run together
(`jobs`).
"""
