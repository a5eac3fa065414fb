"""The shared language of the platform: event schemas, topics, and the tables of the lake.

Everything else derives from what is written here: Spark and Arrow schemas, validation, checks, metadata, documents.
Imports nothing else of the project, so that the streaming service can use it without Dagster.
"""
