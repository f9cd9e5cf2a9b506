-- One row per treated patient, scheme and timepoint: which comparisons and composites hold and which fail, as bits, for
-- the values observed, for the last ones carried forward, and at baseline; and which parameters have a value.
WITH answers AS (
    SELECT c.scheme, c.patient_key, c.time, coalesce(bit_or(o.met), 0) AS met, coalesce(bit_or(o.failed), 0) AS failed,
        coalesce(bit_or(u.met), 0) AS unspoilt_met, coalesce(bit_or(u.failed), 0) AS unspoilt_failed,
        bit_or(1::BIGINT << c.parameter) FILTER (c.observed IS NOT NULL) AS present,
        bit_or(1::BIGINT << c.parameter) FILTER (c.spoilt) AS spoilt
    FROM chosen AS c
    LEFT JOIN judged AS o ON o.scheme = c.scheme AND o.record_key = c.observed AND o.parameter = c.parameter
    LEFT JOIN judged AS u ON u.scheme = c.scheme AND u.record_key = c.unspoilt AND u.parameter = c.parameter
    GROUP BY c.scheme, c.patient_key, c.time
),
composed AS (
    SELECT scheme, patient_key, time, present, spoilt,
        composites_met(scheme, met, failed) AS met, composites_failed(scheme, met, failed) AS failed,
        composites_met(scheme, unspoilt_met, unspoilt_failed) AS carried_met,
        composites_failed(scheme, unspoilt_met, unspoilt_failed) AS carried_failed
    FROM answers
)
SELECT t.patient_key, p.patient_id, p.site_id, t.drug, t.first_dose_on, p.consent_withdrawn_on, t.scheme, s.time,
    coalesce(a.met, 0) AS met, coalesce(a.failed, 0) AS failed,
    coalesce(a.carried_met, 0) AS carried_met, coalesce(a.carried_failed, 0) AS carried_failed,
    coalesce(b.met, 0) AS baseline_met, coalesce(b.failed, 0) AS baseline_failed,
    coalesce(a.present, 0) AS present, coalesce(a.spoilt, 0) AS spoilt, coalesce(b.present, 0) AS baseline_present
FROM treated AS t
JOIN scheme_times AS s USING (scheme)
JOIN patients AS p USING (patient_key)
LEFT JOIN composed AS a ON a.scheme = t.scheme AND a.patient_key = t.patient_key AND a.time = s.time
LEFT JOIN (FROM composed WHERE time = 0) AS b ON b.scheme = t.scheme AND b.patient_key = t.patient_key
