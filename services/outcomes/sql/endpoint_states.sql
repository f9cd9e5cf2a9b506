-- One row per protocol, patient, timepoint and endpoint: met or not (R2, R3), and the state (R4.6), as of today.
WITH earlier AS (  -- R4.9: what a delayed response asks of another timepoint
    SELECT patient_key, scheme, time, met, failed FROM results WHERE time IN (SELECT after FROM schedule)
),
placed AS (
    SELECT r.patient_key, r.patient_id, r.site_id, r.drug, e.protocol, e.timepoint, e.endpoint, e.scheme, e.time, e.lead,
        e.parameters, e.headline_parameters, e.baseline_reason, e.observed_when_due, r.baseline_present,
        r.first_dose_on + e.opens AS window_start, r.first_dose_on + e.closes AS window_end,
        coalesce(r.consent_withdrawn_on < r.first_dose_on + e.opens, false) AS withdrawn,
        r.present & e.parameters <> 0 AS has_value, r.spoilt & e.parameters <> 0 AS spoilt,
        r.baseline_present & e.parameters <> 0 AS has_baseline, e.needs_baseline,
        r.baseline_present & e.population_parameters = e.population_parameters AS population_known,
        CASE WHEN e.qualifies IS NULL THEN true ELSE told(e.qualifies, r.baseline_met, r.baseline_failed) END AS qualifies,
        e.after, told(e.answer, b.met, b.failed) AS responded_before,
        e.after IS NOT NULL AND responded_before IS NOT false AS not_delayed,
        CASE WHEN NOT not_delayed THEN told(e.answer, r.met, r.failed) END AS met,
        CASE WHEN NOT not_delayed THEN told(e.answer, r.carried_met, r.carried_failed) END AS carried_met
    FROM results AS r
    JOIN schedule AS e ON e.scheme = r.scheme AND e.time = r.time
    LEFT JOIN earlier AS b ON b.patient_key = r.patient_key AND b.scheme = e.scheme AND b.time = e.after
),
stated AS (
    SELECT *, (SELECT today FROM clock) >= window_start AS opened, (SELECT today FROM clock) >= window_end AS due,
        NOT withdrawn AND (has_baseline OR NOT needs_baseline) AS applicable,
        NOT withdrawn AND has_baseline AND coalesce(qualifies, false) AND NOT not_delayed AS population
    FROM placed
)
SELECT patient_key, patient_id, site_id, drug, protocol, timepoint, endpoint, scheme, time, lead, parameters, headline_parameters,
    baseline_present,
    CASE WHEN NOT applicable THEN 'not_applicable'
         WHEN NOT opened THEN 'not_due'
         WHEN NOT due THEN CASE WHEN has_value THEN 'provisional' ELSE 'open' END
         WHEN has_value THEN 'final'
         ELSE 'missed' END AS status,
    CASE WHEN applicable AND opened AND has_value THEN met END AS observed,
    CASE WHEN NOT due OR NOT population THEN NULL                              -- R4.7
         WHEN NOT has_value OR spoilt THEN false
         ELSE met END AS nri,
    CASE WHEN due AND population THEN carried_met END AS locf,
    window_start, window_end, due, population,
    CASE
        WHEN withdrawn THEN 'consent_withdrawn'
        WHEN NOT has_baseline THEN 'no_baseline'
        WHEN qualifies IS NULL THEN CASE WHEN population_known THEN 'baseline_unknown' ELSE 'no_baseline' END
        WHEN NOT qualifies THEN baseline_reason
        WHEN not_delayed THEN CASE WHEN responded_before THEN 'week_12_responder' ELSE 'unknown' END
        WHEN due AND NOT has_value THEN 'missed'
        WHEN opened AND has_value AND met IS NULL THEN CASE WHEN after IS NULL THEN 'value_unknown' ELSE 'unknown' END
    END AS reason,
    observed_when_due
FROM stated
UNION ALL
SELECT p.patient_key, p.patient_id, p.site_id, NULL, e.protocol, e.timepoint, e.endpoint, e.scheme, e.time, e.lead,
    e.parameters, e.headline_parameters, 0, 'not_applicable', NULL, NULL, NULL, NULL, NULL, false, false, 'no_treatment',
    e.observed_when_due
FROM patients AS p CROSS JOIN schedule AS e ANTI JOIN treated AS t ON t.scheme = e.scheme AND t.patient_key = p.patient_key
