-- One row per treated patient, protocol and timepoint: which endpoints are met and which failed, as bits, for the values
-- observed and for the last ones carried forward; who is in their populations; and which parameters have a value.
WITH answers AS (
    SELECT c.scheme, c.patient_key, c.time, bit_or(o.met) AS met, bit_or(o.failed) AS failed,
        bit_or(u.met) AS unspoilt_met, bit_or(u.failed) AS unspoilt_failed,
        bit_or(1::BIGINT << c.parameter) FILTER (c.observed IS NOT NULL) AS present,
        bit_or(1::BIGINT << c.parameter) FILTER (c.spoilt) AS spoilt
    FROM chosen AS c
    LEFT JOIN judged AS o ON o.scheme = c.scheme AND o.record_key = c.observed AND o.parameter = c.parameter
    LEFT JOIN judged AS u ON u.scheme = c.scheme AND u.record_key = c.unspoilt AND u.parameter = c.parameter
    GROUP BY c.scheme, c.patient_key, c.time
),
filled AS (
    SELECT t.patient_key, t.drug, t.first_dose_on, s.protocol, s.number, s.time,
        coalesce(a.met, 0) AS met, coalesce(a.failed, 0) AS failed,
        coalesce(a.unspoilt_met, 0) AS unspoilt_met, coalesce(a.unspoilt_failed, 0) AS unspoilt_failed,
        coalesce(a.present, 0) AS present, coalesce(a.spoilt, 0) AS spoilt,
        coalesce(b.met, 0) AS baseline_met, coalesce(b.failed, 0) AS baseline_failed,
        coalesce(b.present, 0) AS baseline_present
    FROM treated AS t
    JOIN protocol_times AS s USING (scheme)
    LEFT JOIN answers AS a ON a.scheme = t.scheme AND a.patient_key = t.patient_key AND a.time = s.time
    LEFT JOIN (FROM answers WHERE time = 0) AS b ON b.scheme = t.scheme AND b.patient_key = t.patient_key
)
SELECT f.patient_key, p.patient_id, p.site_id, f.drug, f.first_dose_on, p.consent_withdrawn_on, f.protocol, f.time,
    endpoints_met(number, met, failed) AS met, endpoints_failed(number, met, failed) AS failed,
    endpoints_met(number, unspoilt_met, unspoilt_failed) AS carried_met,
    endpoints_failed(number, unspoilt_met, unspoilt_failed) AS carried_failed,
    populations_met(number, baseline_met, baseline_failed) AS qualified,
    populations_failed(number, baseline_met, baseline_failed) AS disqualified,
    present, spoilt, baseline_present
FROM filled AS f JOIN patients AS p USING (patient_key)
