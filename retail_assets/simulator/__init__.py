"""The synthetic retailer: its world, what its customers want, what its stores hold, and what its tills report.

Belongs here: everything that makes data up. Imports `retail_assets.contracts` and nothing else of the project. Nothing
downstream may import from here, so that no feature or model can see the truth behind the data.
"""
