-- One row per scheme, patient, timepoint (0 = baseline) and parameter with a value: the one chosen; and a second row,
-- `carried`, where the last observation carried forward is another one (R4.7). No value, no row.
WITH placed AS (
    SELECT t.scheme, m.* EXCLUDE (scheme), (m.on_date - t.first_dose_on)::SMALLINT AS study_offset,  -- R0.4
        coalesce(m.on_date >= t.intercurrent_on, false) AS spoilt,
        -- R4.5: on the day of the first dose a value counts as baseline only if not later than it
        coalesce(m.on_date = t.first_dose_on AND at_time > first_dose_at, false) AS after_dose
    FROM measurements AS m
    JOIN treated AS t ON t.patient_key = m.patient_key AND (m.scheme IS NULL OR m.scheme = t.scheme)
),
observed AS (  -- R4.2: nearest to target, then later date, scheduled, later time, greatest record id
    SELECT placed.*, w.time, w.opens FROM placed JOIN scheme_windows AS w USING (scheme, parameter)
    WHERE study_offset BETWEEN w.opens AND w.closes AND (w.time > 0 OR NOT after_dose)
    QUALIFY row_number() OVER (
        PARTITION BY scheme, patient_key, time, parameter
        ORDER BY abs(study_offset - w.target), study_offset DESC, visit_rank, at_time DESC NULLS LAST,
            site_id DESC, event_id DESC) = 1
),
carried AS (  -- the window's own value before an intercurrent event, else the last one before the window
    SELECT placed.*, w.time, w.opens
    FROM placed JOIN scheme_windows AS w USING (scheme, parameter)
    ANTI JOIN (FROM observed WHERE NOT spoilt) AS o USING (scheme, patient_key, time, parameter)
    WHERE w.time > 0 AND NOT spoilt AND study_offset BETWEEN least(1, w.opens) AND w.closes
      AND (study_offset >= 1 OR study_offset >= w.opens)
    QUALIFY row_number() OVER (
        PARTITION BY scheme, patient_key, time, parameter
        ORDER BY study_offset >= w.opens DESC,
            CASE WHEN study_offset >= w.opens THEN abs(study_offset - w.target) END,
            study_offset DESC, visit_rank, at_time DESC NULLS LAST, site_id DESC, event_id DESC) = 1
),
chosen AS (
    SELECT *, false AS carried FROM observed UNION ALL SELECT *, true FROM carried
),
steroids AS (SELECT scheme, r.* FROM current_records AS r JOIN scheme_corticosteroids USING (drug) WHERE event_type = 'treatment'),
steroid_spans AS (  -- R2.5: opened by a start, dose change, resumption or rescue; ended by the drug's next stop
    SELECT o.scheme, o.patient_key, o.on_date AS first_on, min(e.on_date) AS last_on
    FROM steroids AS o
    LEFT JOIN steroids AS e ON e.scheme = o.scheme AND e.patient_key = o.patient_key AND e.drug = o.drug
        AND e.action IN ('stop', 'interrupt') AND e.on_date >= o.on_date
    WHERE o.action NOT IN ('stop', 'interrupt')
    GROUP BY o.scheme, o.patient_key, o.record_key, o.on_date
    UNION ALL
    SELECT scheme, patient_key, on_date, on_date FROM current_records CROSS JOIN schemes
    WHERE event_type = 'visit' AND corticosteroid
),
steroid_days AS (  -- days from the last steroid day to each CDAI
    SELECT c.scheme, c.patient_key, c.record_key, 0::TINYINT AS parameter, min(c.on_date - least(c.on_date, s.last_on))::INTEGER AS steroid_gap
    FROM (SELECT DISTINCT scheme, patient_key, record_key, on_date FROM chosen WHERE parameter = 0) AS c
    JOIN steroid_spans AS s ON s.scheme = c.scheme AND s.patient_key = c.patient_key AND s.first_on <= c.on_date
    GROUP BY c.scheme, c.patient_key, c.record_key
),
steroid_histories AS (SELECT DISTINCT scheme, patient_key, true AS recorded FROM steroids),
steroid_statements AS (
    SELECT DISTINCT patient_key, on_date, true AS stated FROM current_records
    WHERE event_type = 'visit' AND corticosteroid IS NOT NULL
)
SELECT c.patient_key, c.scheme, c.time, c.parameter, c.carried, c.spoilt, c.value, c.comparator, c.on_date,
    c.study_offset, c.ref_high, c.age_limit, c.site_id || '/' || c.event_id AS record, c.imputed,
    c.highest_item, c.ulceration, c.value - c.narrowing AS without_narrowing,
    CASE WHEN c.highest_item IS NOT NULL THEN coalesce(c.segments[1], 0) > 0 AND c.segments[1] = c.value END AS isolated_ileal,
    -- R2.7: over segments explored at both visits; a total without segments stands for all of them
    CASE WHEN c.segments IS NULL OR b.segments IS NULL THEN b.value
         WHEN segment_lost(b.segments, c.segments) THEN b.value
         ELSE shared_score(b.segments, c.segments) END AS baseline_common,
    CASE WHEN c.segments IS NULL OR b.segments IS NULL THEN c.value
         ELSE shared_score(c.segments, b.segments) END AS value_common,
    coalesce(c.segments IS NOT NULL AND segment_lost(b.segments, c.segments), false) AS segment_lost,
    d.steroid_gap,
    c.parameter = 0 AND (coalesce(h.recorded, false) OR coalesce(st.stated, false)) AS steroids_known
FROM chosen AS c
LEFT JOIN (FROM observed WHERE time = 0) AS b USING (scheme, patient_key, parameter)
LEFT JOIN steroid_days AS d ON d.record_key = c.record_key AND d.parameter = c.parameter AND d.scheme = c.scheme
LEFT JOIN steroid_histories AS h ON h.scheme = c.scheme AND h.patient_key = c.patient_key
LEFT JOIN steroid_statements AS st ON st.patient_key = c.patient_key AND st.on_date = c.on_date
