-- One row per patient: site, and when follow-up for safety ends for another reason than the drug.
WITH enrolments AS (
    SELECT patient_key, min(row(on_date, site_id, event_id))[2] AS site_id
    FROM current_records WHERE event_type = 'enrolment' GROUP BY patient_key
),
index_starts AS (  -- contract: the index start's site stands in where there is no enrolment
    SELECT patient_key, min(row(on_date, at_time IS NOT NULL, at_time, site_id, event_id))[4] AS site_id
    FROM current_records WHERE event_type = 'treatment' AND action = 'start' AND drug IN (SELECT drug FROM index_drugs)
    GROUP BY patient_key
),
seen AS (
    SELECT patient_key, any_value(patient_id) AS patient_id, any_value(partition) AS partition,
        max(recorded_at) AS last_event_at,
        min(CASE WHEN event_type = 'treatment' THEN on_date ELSE coalesce(resolved_on, on_date) END)
            FILTER (((event_type = 'adverse_event' AND fatal) OR (action = 'stop' AND reason = 'death'))
                AND coalesce(resolved_on, on_date) <= least((SELECT today FROM clock), withdrawn_on)) AS died_on
    FROM current_records LEFT JOIN withdrawals USING (patient_key)
    GROUP BY patient_key
),
earliest AS (  -- only where neither an enrolment nor an index start names the site
    SELECT patient_key, min(row(on_date, site_id, event_id))[2] AS site_id
    FROM current_records
    SEMI JOIN (SELECT patient_key FROM seen ANTI JOIN enrolments USING (patient_key) ANTI JOIN index_starts USING (patient_key))
        USING (patient_key)
    GROUP BY patient_key
)
SELECT patient_key, seen.patient_id, coalesce(enrolments.site_id, index_starts.site_id, earliest.site_id) AS site_id,
    died_on, withdrawn_on AS consent_withdrawn_on, seen.last_event_at, seen.partition
FROM seen
LEFT JOIN enrolments USING (patient_key)
LEFT JOIN index_starts USING (patient_key)
LEFT JOIN earliest USING (patient_key)
LEFT JOIN withdrawals USING (patient_key)
