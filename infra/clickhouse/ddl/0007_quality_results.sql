-- What every check of every run found. Written from Dagster's event log, more than once where a write was cut short: a
-- row that comes again replaces itself. Small, so without partitions.

CREATE TABLE IF NOT EXISTS quality_results
(
    asset         LowCardinality(String) COMMENT 'Table that was checked, such as core/sales_lines',
    check_name    LowCardinality(String) COMMENT 'Check, unique within the table',
    partition     String                 COMMENT 'Business date of the run, or its first and last; empty without dates',
    run_id        String                 COMMENT 'Run of Dagster',
    job           LowCardinality(String) COMMENT 'Job of the run',
    passed        Bool                   COMMENT 'Whether all was well',
    severity      LowCardinality(String) COMMENT 'What a failure is: error or warning',
    is_blocking   Bool                   COMMENT 'Whether a failure stops what follows',
    is_measured   Bool                   COMMENT 'Whether observed, expected and threshold are numbers of the check; else 0',
    observed      Float64                COMMENT 'The number that was looked at',
    expected      Float64                COMMENT 'What it should be, or usually is',
    threshold     Float64                COMMENT 'What observed may reach, or how far it may stray; the check says which',
    sentence      String                 COMMENT 'What was found, in words',
    evaluated_at  DateTime64(3, 'UTC')   COMMENT 'When the check ran, UTC; of two results of a run the newer counts'
)
ENGINE = ReplacingMergeTree(evaluated_at)
ORDER BY (asset, check_name, partition, run_id)
TTL toDateTime(evaluated_at) + INTERVAL 730 DAY
COMMENT 'Results of checks. One row per table, check, partition and run';

-- How things stand: of the runs of the same dates the newest counts, so that a day that was mended shows as well.
CREATE OR REPLACE VIEW v_quality_results AS
SELECT
    r.asset AS asset, r.check_name AS check_name, r.partition AS partition, r.passed AS passed, r.severity AS severity,
    r.is_blocking AS is_blocking, r.is_measured AS is_measured, r.observed AS observed, r.expected AS expected,
    r.threshold AS threshold, r.sentence AS sentence, r.evaluated_at AS evaluated_at, r.job AS job, r.run_id AS run_id
FROM
(
    SELECT * FROM quality_results FINAL
    ORDER BY evaluated_at DESC
    LIMIT 1 BY asset, check_name, partition
) AS r;
