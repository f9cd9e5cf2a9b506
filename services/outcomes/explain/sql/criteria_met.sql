-- One row per scheme, timepoint (0 = baseline) and comparison: whether it holds, as observed and carried forward, and
-- the numbers that it holds against each other.
SELECT a.scheme, n.time, n.timepoint, a.bit, p.name AS parameter, a.kind, a.measure, a.operator, a.limit_value,
    a.baseline4_fall, a.baseline_zero_fails, a.days, a.laboratory, a.fixed, a.miller, a.inclusive,
    CASE WHEN r.met & a.bit <> 0 THEN true WHEN r.failed & a.bit <> 0 THEN false END AS met,
    CASE WHEN r.carried_met & a.bit <> 0 THEN true WHEN r.carried_failed & a.bit <> 0 THEN false END AS carried_met,
    CASE WHEN a.kind IN ('fall', 'per_cent_fall') THEN s.value_common
         ELSE CASE a.measure WHEN 'highest_item' THEN s.highest_item WHEN 'ulceration' THEN s.ulceration
             WHEN 'without_narrowing' THEN s.without_narrowing WHEN 'isolated_ileal' THEN s.isolated_ileal::TINYINT
             ELSE s.value END
    END AS value,
    s.comparator,
    CASE a.kind WHEN 'normalisation' THEN b.value WHEN 'fall' THEN s.baseline_common
        WHEN 'per_cent_fall' THEN s.baseline_common END AS baseline_value,
    CASE WHEN a.kind = 'normalisation' THEN b.comparator END AS baseline_comparator,
    CASE WHEN a.kind IN ('normalisation', 'raised')
        THEN upper_limit(a.laboratory, a.fixed, a.miller, s.ref_high, s.age_limit) END AS upper_limit,
    CASE WHEN a.kind = 'normalisation'
        THEN upper_limit(a.laboratory, a.fixed, a.miller, b.ref_high, b.age_limit) END AS baseline_upper_limit,
    s.segment_lost, s.steroid_gap, s.steroids_known
FROM scheme_atoms AS a
JOIN parameters AS p USING (parameter)
JOIN scheme_times AS n USING (scheme)
LEFT JOIN answers AS r ON r.scheme = a.scheme AND r.time = n.time
LEFT JOIN (FROM selected WHERE NOT carried) AS s
    ON s.scheme = a.scheme AND s.time = n.time AND s.parameter = a.parameter
LEFT JOIN (FROM selected WHERE NOT carried AND time = 0) AS b ON b.scheme = a.scheme AND b.parameter = a.parameter
WHERE EXISTS (FROM treated AS t WHERE t.scheme = a.scheme)
