-- One row per scheme, timepoint (0 = baseline) and comparison: whether it holds, as observed and carried forward, and
-- the numbers that it holds against each other.
WITH taken AS (
    SELECT c.scheme, c.time, c.parameter, c.observed, c.unspoilt, m.value, m.comparator, m.ref_high, m.age_limit,
        m.highest_item, m.ulceration, m.ulcerated_surface, m.narrowing
    FROM chosen AS c
    LEFT JOIN measurements AS m ON m.record_key = c.observed AND m.parameter = c.parameter
        AND (m.scheme IS NULL OR m.scheme = c.scheme)
)
SELECT a.scheme, n.time, n.timepoint, a.bit, p.name AS parameter, a.kind, a.measure, a.operator, a.limit_value,
    a.baseline4_fall, a.baseline_zero_fails, a.days, a.laboratory, a.fixed, a.miller, a.inclusive,
    told(a.bit, o.met, o.failed) AS met, told(a.bit, u.met, u.failed) AS carried_met,
    CASE WHEN a.kind IN ('fall', 'per_cent_fall') THEN o.value_common
         ELSE CASE a.measure WHEN 'highest_item' THEN s.highest_item WHEN 'ulceration' THEN s.ulceration
             WHEN 'ulcerated_surface' THEN s.ulcerated_surface
             WHEN 'without_narrowing' THEN s.value - s.narrowing ELSE s.value END
    END AS value,
    s.comparator,
    CASE WHEN a.kind = 'normalisation' THEN b.value
         WHEN a.kind IN ('fall', 'per_cent_fall') THEN o.baseline_common END AS baseline_value,
    CASE WHEN a.kind = 'normalisation' THEN b.comparator END AS baseline_comparator,
    CASE WHEN a.kind IN ('normalisation', 'raised')
        THEN upper_limit(a.laboratory, a.fixed, a.miller, s.ref_high, s.age_limit) END AS upper_limit,
    CASE WHEN a.kind = 'normalisation'
        THEN upper_limit(a.laboratory, a.fixed, a.miller, b.ref_high, b.age_limit) END AS baseline_upper_limit,
    coalesce(o.segment_lost, false) AS segment_lost
FROM scheme_atoms AS a
JOIN parameters AS p USING (parameter)
JOIN scheme_times AS n USING (scheme)
LEFT JOIN taken AS s ON s.scheme = a.scheme AND s.time = n.time AND s.parameter = a.parameter
LEFT JOIN (FROM taken WHERE time = 0) AS b ON b.scheme = a.scheme AND b.parameter = a.parameter
LEFT JOIN judged AS o ON o.scheme = a.scheme AND o.parameter = a.parameter AND o.record_key = s.observed
LEFT JOIN judged AS u ON u.scheme = a.scheme AND u.parameter = a.parameter AND u.record_key = s.unspoilt
