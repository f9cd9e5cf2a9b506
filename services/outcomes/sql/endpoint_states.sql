-- One row per protocol, patient, timepoint and endpoint: met or not (R2, R3), and the state (R4.6), as of today.
WITH assessed AS (
    SELECT p.patient_key, p.patient_id, p.site_id, p.consent_withdrawn_on, s.scheme, s.time, s.timepoint,
        t.drug, t.first_dose_on, a.met, a.failed, a.carried_met, a.carried_failed,
        coalesce(a.present, 0) AS present, coalesce(a.spoilt, 0) AS spoilt,
        coalesce(b.met, 0) AS baseline_met, coalesce(b.failed, 0) AS baseline_failed,
        coalesce(b.present, 0) AS baseline_present
    FROM patients AS p
    CROSS JOIN scheme_times AS s
    LEFT JOIN treated AS t ON t.scheme = s.scheme AND t.patient_key = p.patient_key
    LEFT JOIN answers AS a ON a.scheme = s.scheme AND a.patient_key = p.patient_key AND a.time = s.time
    LEFT JOIN (FROM answers WHERE time = 0) AS b ON b.scheme = s.scheme AND b.patient_key = p.patient_key
),
judged AS (
    SELECT a.patient_key, a.patient_id, a.site_id, a.drug, a.consent_withdrawn_on, e.protocol, a.timepoint, e.endpoint,
        e.scheme, e.time, e.lead, e.parameters, e.after, e.needs_baseline, e.baseline_reason, e.observed_when_due,
        e.headline_parameters, a.baseline_present,
        a.first_dose_on + e.opens AS window_start, a.first_dose_on + e.closes AS window_end,
        a.present & e.parameters <> 0 AS has_value, a.spoilt & e.parameters <> 0 AS spoilt,
        a.baseline_present & e.parameters <> 0 AS has_baseline,
        a.baseline_present & e.population_parameters = e.population_parameters AS population_known,
        CASE WHEN len(e.population) = 0 THEN true
             ELSE decide(e.population, a.baseline_met, a.baseline_failed) END AS qualifies,
        CASE WHEN e.after IS NULL THEN decide(e.clauses, a.met, a.failed)
             ELSE first_known(e.responses, a.met, a.failed) END AS met,
        CASE WHEN e.after IS NULL THEN decide(e.clauses, a.carried_met, a.carried_failed)
             ELSE first_known(e.responses, a.carried_met, a.carried_failed) END AS carried_met,
        CASE WHEN e.after IS NOT NULL THEN first_known(e.responses, f.met, f.failed) END AS responded_before
    FROM assessed AS a
    JOIN schedule AS e USING (scheme, time, timepoint)  -- by both, so that who asks for one timepoint reads one
    LEFT JOIN (FROM answers SEMI JOIN (SELECT scheme, after AS time FROM schedule) USING (scheme, time)) AS f ON f.scheme = e.scheme AND f.time = e.after AND f.patient_key = a.patient_key
),
stated AS (
    SELECT * EXCLUDE (met, carried_met),
        CASE WHEN after IS NULL OR NOT responded_before THEN met END AS met,               -- R4.9
        CASE WHEN after IS NULL OR NOT responded_before THEN carried_met END AS carried_met,
        CASE
            WHEN drug IS NULL THEN 'no_treatment'
            WHEN consent_withdrawn_on < window_start THEN 'consent_withdrawn'
            WHEN NOT has_baseline THEN 'no_baseline'
            WHEN qualifies IS NULL THEN CASE WHEN population_known THEN 'baseline_unknown' ELSE 'no_baseline' END
            WHEN NOT qualifies THEN baseline_reason
            WHEN after IS NOT NULL AND responded_before THEN 'week_12_responder'
            WHEN after IS NOT NULL AND responded_before IS NULL THEN 'unknown' END AS excluded,
        CASE
            WHEN drug IS NULL THEN 'not_applicable'
            WHEN consent_withdrawn_on < window_start THEN 'not_applicable'
            WHEN needs_baseline AND NOT has_baseline THEN 'not_applicable'
            WHEN (SELECT today FROM clock) < window_start THEN 'not_due'
            WHEN (SELECT today FROM clock) < window_end THEN CASE WHEN has_value THEN 'provisional' ELSE 'open' END
            WHEN has_value THEN 'final'
            ELSE 'missed' END AS status,
        coalesce((SELECT today FROM clock) >= window_end, false) AS due
    FROM judged
)
SELECT patient_key, patient_id, site_id, drug, protocol, timepoint, endpoint, scheme, time, lead, parameters, headline_parameters,
    baseline_present, status,
    CASE WHEN status IN ('provisional', 'final') THEN met END AS observed,
    CASE WHEN NOT due OR excluded IS NOT NULL THEN NULL                        -- R4.7
         WHEN NOT has_value OR spoilt THEN false
         ELSE met END AS nri,
    CASE WHEN due AND excluded IS NULL THEN carried_met END AS locf,
    window_start, window_end, due, excluded IS NULL AS population,
    coalesce(excluded,
        CASE WHEN status = 'missed' THEN 'missed'
             WHEN status IN ('provisional', 'final') AND met IS NULL
             THEN CASE WHEN after IS NULL THEN 'value_unknown' ELSE 'unknown' END END) AS reason,
    observed_when_due
FROM stated
