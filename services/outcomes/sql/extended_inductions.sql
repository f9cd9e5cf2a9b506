-- One row per protocol and patient who kept the dose of induction beyond its end (R4.9): dose, first and last day, days.
WITH doses AS (  -- in force from its day on, until the next
    SELECT i.protocol, i.dose_mg AS induction_mg, t.patient_key, t.drug, t.first_dose_on, t.last_dose_on,
        t.first_dose_on + i.days AS meant_until, t.first_dose_on + i.days + i.grace_days AS granted_until,
        r.on_date, r.dose_mg, r.at_time, r.site_id, r.event_id
    FROM protocol_inductions AS i
    JOIN protocols USING (protocol)
    JOIN treated AS t USING (scheme)
    JOIN current_records AS r ON r.patient_key = t.patient_key AND r.drug = t.drug AND r.on_date >= t.first_dose_on
    WHERE r.event_type = 'treatment' AND r.action IN ('start', 'dose_change', 'resume') AND r.dose_mg IS NOT NULL
),
courses AS (
    SELECT protocol, patient_key, drug, meant_until, granted_until, last_dose_on,
        any_value(induction_mg) AS induction_mg,
        min_by(dose_mg, row(on_date, at_time IS NOT NULL, at_time, site_id, event_id)) AS first_mg,
        max_by(dose_mg, row(on_date, at_time IS NOT NULL, at_time, site_id, event_id))
            FILTER (on_date <= meant_until AND dose_mg >= induction_mg) AS dose_mg,
        min(on_date) FILTER (dose_mg < induction_mg) AS lowered_on
    FROM doses
    GROUP BY protocol, patient_key, drug, meant_until, granted_until, last_dose_on
),
ended AS (
    SELECT c.*, p.patient_id, p.site_id, least(lowered_on - 1, last_dose_on) AS extended_until,
        least((SELECT today FROM clock), p.consent_withdrawn_on) AS known_until
    FROM courses AS c
    JOIN (SELECT patient_key, patient_id, site_id, consent_withdrawn_on FROM patients) AS p USING (patient_key)
    WHERE first_mg >= induction_mg
)
SELECT protocol, patient_id, site_id, drug, dose_mg, meant_until AS extended_from, extended_until,
    (coalesce(extended_until, known_until) - meant_until + 1)::INTEGER AS days
FROM ended
WHERE coalesce(extended_until, known_until) >= granted_until
