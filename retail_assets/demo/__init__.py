"""The demo: a synthetic retailer's day through the whole platform, and the report that proves the books balance."""
