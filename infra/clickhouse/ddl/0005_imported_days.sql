-- Imported history tells days, not hours: its rows have an hour that no clock shows.

ALTER TABLE fact_sales
    COMMENT COLUMN business_hour 'Hour in the store''s own time zone; 24 where only the day is known';
