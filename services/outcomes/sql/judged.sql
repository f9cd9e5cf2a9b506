-- One row per scheme and measurement: which comparisons hold and which fail, as bits, and what a fall is reckoned from.
WITH steroids AS (
    SELECT scheme, apart, r.* FROM current_records AS r JOIN scheme_corticosteroids USING (drug)
    WHERE event_type = 'treatment'
),
taken AS (  -- R2.5: opened by a start, dose change, resumption or rescue; ended by the drug's next stop
    SELECT o.scheme, o.patient_key, o.apart, o.on_date AS first_on, min(e.on_date) AS last_on
    FROM steroids AS o
    LEFT JOIN steroids AS e ON e.scheme = o.scheme AND e.patient_key = o.patient_key AND e.drug = o.drug
        AND e.action IN ('stop', 'interrupt') AND e.on_date >= o.on_date
    WHERE o.action NOT IN ('stop', 'interrupt')
    GROUP BY o.scheme, o.patient_key, o.apart, o.record_key, o.on_date
),
steroid_spans AS (  -- a visit's "on a steroid" names no drug: it means the one counted apart, where that was taken then
    FROM taken
    UNION ALL
    SELECT s.scheme, v.patient_key, count(t.first_on) > 0, v.on_date, v.on_date
    FROM current_records AS v
    CROSS JOIN schemes AS s
    LEFT JOIN taken AS t ON t.patient_key = v.patient_key AND t.scheme = s.scheme AND t.apart
        AND v.on_date BETWEEN t.first_on AND coalesce(t.last_on, v.on_date)
    WHERE v.event_type = 'visit' AND v.corticosteroid
    GROUP BY s.scheme, v.patient_key, v.record_key, v.on_date
),
steroid_days AS (  -- days from the last steroid day to each CDAI
    SELECT m.scheme, m.record_key, 0::TINYINT AS parameter,
        min(m.on_date - least(m.on_date, s.last_on))::INTEGER AS steroid_gap,
        (min(m.on_date - least(m.on_date, s.last_on)) FILTER (NOT s.apart))::INTEGER AS systemic_gap
    FROM measurements AS m
    JOIN steroid_spans AS s ON s.scheme = m.scheme AND s.patient_key = m.patient_key AND s.first_on <= m.on_date
    WHERE m.parameter = 0
    GROUP BY m.scheme, m.record_key
),
steroid_histories AS (SELECT DISTINCT scheme, patient_key, true AS recorded FROM steroids),
steroid_statements AS (
    SELECT DISTINCT patient_key, on_date, true AS stated FROM current_records
    WHERE event_type = 'visit' AND corticosteroid IS NOT NULL
),
placed AS (
    SELECT t.scheme, m.* EXCLUDE (scheme), CASE WHEN m.highest_item IS NOT NULL
        THEN coalesce(m.segments[1], 0) > 0 AND m.segments[1] = m.value END AS isolated_ileal
    FROM measurements AS m
    JOIN treated AS t ON t.patient_key = m.patient_key AND (m.scheme IS NULL OR m.scheme = t.scheme)
),
baselines AS (
    SELECT p.scheme, p.patient_key, p.parameter, p.value, p.comparator, p.ref_high, p.age_limit, p.segments, p.isolated_ileal
    FROM placed AS p
    JOIN (FROM chosen WHERE time = 0) AS c
        ON c.scheme = p.scheme AND c.observed = p.record_key AND c.parameter = p.parameter
),
paired AS (  -- with the baseline
    SELECT p.scheme, p.patient_key, p.parameter, p.record_key, p.value, p.comparator, p.ref_high, p.age_limit,
        p.highest_item, p.ulceration, p.ulcerated_surface, p.value - p.narrowing AS without_narrowing, p.isolated_ileal,
        b.value AS baseline_value, b.comparator AS baseline_comparator, b.ref_high AS baseline_ref_high,
        b.age_limit AS baseline_age_limit, b.isolated_ileal AS baseline_isolated_ileal,
        -- R2.7: over segments explored at both visits; a total without segments stands for all of them
        CASE WHEN p.segments IS NULL OR b.segments IS NULL OR segment_lost(b.segments, p.segments) THEN b.value
             ELSE shared_score(b.segments, p.segments) END AS baseline_common,
        CASE WHEN p.segments IS NULL OR b.segments IS NULL THEN p.value
             ELSE shared_score(p.segments, b.segments) END AS value_common,
        coalesce(p.segments IS NOT NULL AND segment_lost(b.segments, p.segments), false) AS segment_lost,
        d.steroid_gap, d.systemic_gap, coalesce(h.recorded, st.stated, false) AS steroids_known
    FROM placed AS p
    LEFT JOIN baselines AS b USING (scheme, patient_key, parameter)
    LEFT JOIN steroid_days AS d ON d.record_key = p.record_key AND d.parameter = p.parameter AND d.scheme = p.scheme
    LEFT JOIN steroid_histories AS h ON h.scheme = p.scheme AND h.patient_key = p.patient_key
    LEFT JOIN steroid_statements AS st ON st.patient_key = p.patient_key AND st.on_date = p.on_date
),
compared AS (
    SELECT p.*, a.bit, CASE a.kind
        WHEN 'threshold' THEN holds(
            CASE a.measure WHEN 'total' THEN value WHEN 'highest_item' THEN highest_item WHEN 'ulceration' THEN ulceration
                WHEN 'ulcerated_surface' THEN ulcerated_surface
                WHEN 'without_narrowing' THEN without_narrowing ELSE isolated_ileal::TINYINT END,
            comparator, a.operator, a.limit_value)
        WHEN 'fall' THEN reaches(baseline_common - value_common, a.operator, a.limit_value)
        WHEN 'per_cent_fall' THEN fell_per_cent(baseline_common, value_common, a.operator, a.limit_value,
            a.baseline4_fall, a.baseline4_rule, baseline_isolated_ileal, a.baseline_zero_fails)
        WHEN 'normalisation' THEN CASE WHEN NOT is_normal(baseline_value, baseline_comparator,
                upper_limit(a.laboratory, a.fixed, a.miller, baseline_ref_high, baseline_age_limit), a.inclusive)
            THEN is_normal(value, comparator,
                upper_limit(a.laboratory, a.fixed, a.miller, ref_high, age_limit), a.inclusive) END
        WHEN 'raised' THEN NOT is_normal(value, comparator,
            upper_limit(a.laboratory, a.fixed, a.miller, ref_high, age_limit), a.inclusive)
        WHEN 'steroid_free' THEN CASE WHEN CASE a.measure WHEN 'systemic' THEN systemic_gap ELSE steroid_gap END <= a.days
            THEN false WHEN steroids_known THEN true END
        WHEN 'steroid_use' THEN CASE WHEN CASE a.measure WHEN 'systemic' THEN systemic_gap ELSE steroid_gap END <= a.days
            THEN true WHEN steroids_known THEN false END
        END AS met
    FROM paired AS p JOIN scheme_atoms AS a USING (scheme, parameter)
)
SELECT scheme, patient_key, parameter, record_key,
    coalesce(bit_or(bit) FILTER (met AND NOT segment_lost), 0) AS met,  -- R2.7: one lost can only be known to have failed
    coalesce(bit_or(bit) FILTER (NOT met), 0) AS failed,
    any_value(baseline_common) AS baseline_common, any_value(value_common) AS value_common,
    any_value(segment_lost) AS segment_lost
FROM compared
GROUP BY scheme, patient_key, parameter, record_key
