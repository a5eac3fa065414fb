"""The ClickHouse HTTP gateway of the local stack: the embedded engine behind the protocol that every client speaks.

Belongs here: speaking ClickHouse's HTTP protocol, who may do what, and running statements on the engine. Does not
belong here: starting or supervising the process, making passwords, and anything about retail.
"""
