-- One row per scheme, patient, timepoint (0 = baseline) and parameter with a value: the record observed, and the one
-- that no intercurrent event had touched, of the window or the last before it (R4.7).
WITH placed AS (
    SELECT t.scheme, m.patient_key, m.parameter, m.record_key, m.on_date,
        (m.on_date - t.first_dose_on)::SMALLINT AS study_offset,  -- R0.4
        coalesce(m.on_date >= t.intercurrent_on, false) AS spoilt,
        -- R4.5: on the day of the first dose a value counts as baseline only if not later than it
        coalesce(m.on_date = t.first_dose_on AND at_time > first_dose_at, false) AS after_dose
    FROM measurements AS m
    JOIN treated AS t ON t.patient_key = m.patient_key AND (m.scheme IS NULL OR m.scheme = t.scheme)
),
crowded AS (  -- days of several values
    SELECT scheme, patient_key, parameter, on_date FROM placed GROUP BY ALL HAVING count(*) > 1
),
ranks AS (  -- R4.2, within a day: scheduled, later time, greatest record id
    SELECT c.scheme, m.parameter, m.record_key, row_number() OVER (
        PARTITION BY c.scheme, m.patient_key, m.parameter, m.on_date
        ORDER BY visit_rank, at_time DESC NULLS LAST, site_id DESC, event_id DESC) AS day_rank
    FROM measurements AS m
    JOIN crowded AS c ON c.patient_key = m.patient_key AND c.parameter = m.parameter AND c.on_date = m.on_date
        AND (m.scheme IS NULL OR m.scheme = c.scheme)
),
candidates AS (
    SELECT p.scheme, p.patient_key, p.parameter, p.record_key, p.spoilt, w.time,
        study_offset >= w.opens AND (w.time > 0 OR NOT after_dose) AS inside,
        preferred(CASE WHEN study_offset >= w.opens THEN abs(study_offset - w.target) END,
            study_offset, coalesce(day_rank, 0)) AS preference
    FROM placed AS p
    JOIN scheme_windows AS w USING (scheme, parameter)
    LEFT JOIN ranks USING (scheme, parameter, record_key)
    WHERE study_offset BETWEEN least(1, w.opens) AND w.closes
)
SELECT scheme, patient_key, time, parameter,
    arg_min(record_key, preference) FILTER (inside) AS observed,
    coalesce(arg_min(spoilt, preference) FILTER (inside), false) AS spoilt,
    arg_min(record_key, preference) FILTER (NOT spoilt AND (inside OR time > 0)) AS unspoilt
FROM candidates
GROUP BY scheme, patient_key, time, parameter
