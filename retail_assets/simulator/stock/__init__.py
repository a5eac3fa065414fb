"""What happens in the stores: trade, deliveries, spoilage, theft, counts and orders, by a ledger that balances.

Nothing here knows what the books are used for: lake, broker and report are elsewhere.
"""
