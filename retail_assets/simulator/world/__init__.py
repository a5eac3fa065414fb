"""Who and what there is: stores, products, suppliers, promotions and the weather, drawn from the scenario.

Nothing here knows what is bought or what lies on a shelf.
"""
