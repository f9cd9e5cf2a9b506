-- One row per patient: site, index drug (of the first protocol), enrolment facts, consent.
WITH enrolments AS (  -- contract: the earlier counts, then the smaller (site_id, event_id)
    FROM current_records
    WHERE event_type = 'enrolment' AND record_key IN (
        SELECT arg_min(record_key, row(on_date, site_id, event_id)) FROM current_records
        WHERE event_type = 'enrolment' GROUP BY patient_key)
),
index_treatments AS (FROM treated WHERE scheme = (SELECT scheme FROM protocols WHERE evaluated = 1)),
seen AS (
    SELECT patient_key, any_value(patient_id) AS patient_id, any_value(partition) AS partition,
        max(recorded_at) AS last_event_at
    FROM current_records
    GROUP BY patient_key
),
earliest AS (  -- only where neither an enrolment nor an index start names the site
    SELECT patient_key, min(row(on_date, site_id, event_id))[2] AS site_id
    FROM current_records
    SEMI JOIN (SELECT patient_key FROM seen ANTI JOIN enrolments USING (patient_key) ANTI JOIN index_treatments USING (patient_key))
        USING (patient_key)
    GROUP BY patient_key
)
SELECT seen.patient_key, seen.patient_id,
    coalesce(enrolments.site_id, start_site_id, earliest.site_id) AS site_id,
    index_treatments.drug, first_dose_on, first_dose_at, last_dose_on, intercurrent_on,
    enrolments.on_date AS enrolled_on, enrolments.sex, enrolments.reference_sex, enrolments.birth_year,
    enrolments.height_cm, enrolments.weight_kg AS enrolment_weight_kg, enrolments.disease_location, enrolments.disease_behaviour, enrolments.perianal,
    enrolments.disease_duration_years, enrolments.prior_biologics,
    withdrawals.withdrawn_on AS consent_withdrawn_on,
    seen.last_event_at, seen.partition
FROM seen
LEFT JOIN enrolments USING (patient_key)
LEFT JOIN index_treatments USING (patient_key)
LEFT JOIN earliest USING (patient_key)
LEFT JOIN withdrawals USING (patient_key)
