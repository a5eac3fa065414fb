"""What an import takes for granted where a retailer's files don't say.

Belongs here: every such value, in one place, so that it can be read, doubted and changed. Does not belong here: how the
values get into the tables (`reference`).

A default is made to be harmless rather than likely: what would move a forecast or an order is neutral, and what is only
shown says that it isn't known.
"""

from typing import Final

#: Text that nobody gave. A later import that gives one replaces it.
UNKNOWN: Final = "unknown"

#: Share of the list price that a unit costs, where no cost is given: a grocer's usual margin.
COST_SHARE: Final = 0.7
PACK_SIZE: Final = 1
MINIMUM_ORDER_PACKS: Final = 1
#: 0 says that a product keeps: nothing is written off that might have been sold.
SHELF_LIFE_DAYS: Final = 0
VOLUME_LITRES: Final = 1.0
SIZE_LABEL: Final = ""

#: A kind of store that is neither the largest nor the smallest.
STORE_FORMAT: Final = "supermarket"
OPENS_AT_HOUR: Final = 8
CLOSES_AT_HOUR: Final = 20
SIZE_M2: Final = 1_000
STORAGE_LITRES: Final = 1_000_000

#: The one supplier of everything: orders every day, and comes in two days, give or take one.
SUPPLIER_ID: Final = UNKNOWN
LEAD_TIME_DAYS_MEAN: Final = 2.0
LEAD_TIME_DAYS_SD: Final = 1.0
REVIEW_PERIOD_DAYS: Final = 1
DELIVERY_WEEKDAYS: Final = "1,2,3,4,5,6"
MINIMUM_ORDER_VALUE: Final = 0
SUPPLIER_RELIABILITY: Final = 1.0

#: The contract knows no "unknown" here; nothing of the platform looks at it.
PAYMENT_METHOD: Final = "cash"

EVENT_KIND: Final = "event"
#: Events of this kind become public holidays.
HOLIDAY_KIND: Final = "holiday"
CALENDAR_DAYS_AHEAD: Final = 366

#: A product that had no row for longer than this, while its store had, is taken for delisted.
LISTED_DAYS: Final = 28
