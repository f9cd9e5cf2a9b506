-- One row per scheme and patient who took an index drug: first and last dose, first intercurrent event, death.
WITH treatments AS (FROM current_records WHERE event_type = 'treatment'),
index_starts AS (  -- contract: the drug of the protocol's list that was started first; never a corticosteroid
    SELECT scheme, patient_key, first.drug, first.on_date AS first_dose_on, first.at_time AS first_dose_at, first.site_id
    FROM (
        SELECT schemes.scheme, patient_key, min(struct_pack(
            on_date, timed := at_time IS NOT NULL, at_time, site_id, event_id, treatments.drug)) AS first
        FROM treatments
        CROSS JOIN schemes
        LEFT JOIN scheme_drugs AS listed ON listed.scheme = schemes.scheme AND listed.drug = treatments.drug
        LEFT JOIN scheme_corticosteroids AS steroids
            ON steroids.scheme = schemes.scheme AND steroids.drug = treatments.drug
        WHERE action = 'start' AND (listed.drug IS NOT NULL OR (any_drug AND steroids.drug IS NULL))
        GROUP BY schemes.scheme, patient_key
    )
),
histories AS (
    SELECT i.scheme, i.patient_key,
        max(t.on_date) FILTER (t.action = 'stop' AND t.drug = i.drug) AS stopped_on,
        max(t.on_date) FILTER (t.action IN ('start', 'resume') AND t.drug = i.drug) AS resumed_on,
        min(t.on_date) FILTER (t.on_date >= i.first_dose_on AND (  -- R4.7, contract
            t.action = 'rescue'
            OR (t.action = 'stop' AND t.drug = i.drug AND t.reason IN ('adverse_event', 'lack_of_efficacy', 'death'))
            OR (t.action = 'start' AND t.drug <> i.drug AND therapies.drug IS NOT NULL)
        )) AS changed_on,
        min(t.on_date) FILTER (t.action = 'stop' AND t.reason = 'death') AS stopped_by_death_on
    FROM index_starts AS i
    JOIN treatments AS t USING (patient_key)
    LEFT JOIN scheme_therapies AS therapies ON therapies.scheme = i.scheme AND therapies.drug = t.drug
    GROUP BY i.scheme, i.patient_key
),
deaths AS (
    SELECT i.scheme, patient_key, min(coalesce(resolved_on, on_date)) AS died_on,
        min(coalesce(resolved_on, on_date)) FILTER (coalesce(resolved_on, on_date) >= i.first_dose_on) AS died_treated_on
    FROM current_records JOIN index_starts AS i USING (patient_key) LEFT JOIN withdrawals USING (patient_key)
    WHERE event_type = 'adverse_event' AND fatal
      AND coalesce(resolved_on, on_date) <= least((SELECT today FROM clock), withdrawn_on)
    GROUP BY i.scheme, patient_key
)
SELECT scheme, patient_key, drug, first_dose_on, first_dose_at, site_id AS start_site_id,
    CASE WHEN stopped_on > resumed_on THEN stopped_on END AS last_dose_on,
    least(changed_on, died_treated_on) AS intercurrent_on, least(died_on, stopped_by_death_on) AS died_on
FROM index_starts JOIN histories USING (scheme, patient_key) LEFT JOIN deaths USING (scheme, patient_key)
