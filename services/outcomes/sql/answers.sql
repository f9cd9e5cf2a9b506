-- One row per scheme, patient and timepoint (0 = baseline) with a value: which comparisons hold and which fail, as bits,
-- for the observed values and for the last ones carried forward; and which parameters have a value, spoilt or not.
WITH compared AS (
    SELECT s.patient_key, s.scheme, s.time, s.carried, s.spoilt, s.parameter, a.bit,
        CASE a.kind
            WHEN 'threshold' THEN holds(
                CASE a.measure WHEN 'total' THEN s.value WHEN 'highest_item' THEN s.highest_item
                    WHEN 'ulceration' THEN s.ulceration WHEN 'without_narrowing' THEN s.without_narrowing
                    ELSE s.isolated_ileal::TINYINT END,
                s.comparator, a.operator, a.limit_value)
            WHEN 'fall' THEN reaches(s.baseline_common - s.value_common, a.operator, a.limit_value)
            WHEN 'per_cent_fall' THEN fell_per_cent(s.baseline_common, s.value_common, a.operator, a.limit_value,
                a.baseline4_fall, a.baseline4_rule, b.isolated_ileal, a.baseline_zero_fails)
            WHEN 'normalisation' THEN CASE WHEN NOT is_normal(
                    b.value, b.comparator, upper_limit(a.laboratory, a.fixed, a.miller, b.ref_high, b.age_limit), a.inclusive)
                THEN is_normal(s.value, s.comparator, upper_limit(a.laboratory, a.fixed, a.miller, s.ref_high, s.age_limit), a.inclusive) END
            WHEN 'raised' THEN NOT is_normal(
                s.value, s.comparator, upper_limit(a.laboratory, a.fixed, a.miller, s.ref_high, s.age_limit), a.inclusive)
            WHEN 'steroid_free' THEN CASE WHEN s.steroid_gap <= a.days THEN false WHEN s.steroids_known THEN true END
        END AS met,
        s.segment_lost
    FROM selected AS s
    JOIN scheme_atoms AS a USING (scheme, parameter)
    LEFT JOIN (FROM selected WHERE time = 0 AND NOT carried) AS b USING (scheme, patient_key, parameter)
),
judged AS (SELECT * REPLACE (CASE WHEN segment_lost THEN only_failure(met) ELSE met END AS met) FROM compared)
SELECT patient_key, scheme, time,
    coalesce(bit_or(bit) FILTER (NOT carried AND met), 0::HUGEINT) AS met,
    coalesce(bit_or(bit) FILTER (NOT carried AND NOT met), 0::HUGEINT) AS failed,
    coalesce(bit_or(bit) FILTER ((carried OR NOT spoilt) AND met), 0::HUGEINT) AS carried_met,
    coalesce(bit_or(bit) FILTER ((carried OR NOT spoilt) AND NOT met), 0::HUGEINT) AS carried_failed,
    coalesce(bit_or(1::BIGINT << parameter) FILTER (NOT carried), 0) AS present,
    coalesce(bit_or(1::BIGINT << parameter) FILTER (NOT carried AND spoilt), 0) AS spoilt
FROM judged
GROUP BY patient_key, scheme, time
