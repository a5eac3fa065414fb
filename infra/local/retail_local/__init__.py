"""The stack of a machine without Docker: set-up of jars, supervised services, and the warehouse gateway.

Imports settings, paths and contracts of `retail_assets`, nothing else of it.
"""
