-- One row per version of a record that does not count, and why not. Each has a key of its own, so that nothing is
-- borrowed between versions; copies of one version, and what a retraction itself says, are no rows.
WITH versions AS (
    SELECT scope.*, winning_version, winning_content, withdrawn_on,
        winning_version IS NULL
            OR (version = winning_version AND content = winning_content AND recorded_at = winning_at) AS wins
    FROM scope LEFT JOIN winners USING (record_key) LEFT JOIN withdrawals USING (patient_key)
),
told AS (
    SELECT *, CASE
        WHEN bool_or(wins AND retracted) OVER (PARTITION BY record_key) THEN 'retracted'
        WHEN NOT wins AND version < winning_version THEN 'superseded'
        WHEN NOT wins AND content <> winning_content THEN 'conflicting'
        WHEN wins AND on_date > (SELECT today FROM clock) THEN 'after_as_of'
        WHEN wins AND on_date > withdrawn_on THEN 'after_consent' END AS why
    FROM versions
)
SELECT * EXCLUDE (winning_content, withdrawn_on, wins) REPLACE (
    row_number() OVER (ORDER BY event_type, site_id, event_id, version, content, recorded_at)::UBIGINT AS record_key)
FROM told WHERE why IS NOT NULL AND NOT retracted
