"""The gateway: one GraphQL API over the services' subgraphs.

Owns the composed graph, limits on queries, and the rules of calling subgraphs. Hears nothing from and says nothing to
the broker. Never knows what an order is, but for the names of two queries in `settings`: `federation` joins types by their keys, whatever they mean.
"""
