-- One row per protocol, patient, timepoint and parameter: the baseline and the value chosen, or nulls.
WITH placed AS (
    SELECT m.*, t.first_dose_on, t.first_dose_at, (m.on_date - t.first_dose_on)::INTEGER AS study_offset  -- R0.4
    FROM measurements AS m JOIN treated AS t USING (protocol, patient_key)
),
baselines AS (  -- R4.5: the last value at or before the first dose, on its day only if not later than it
    SELECT placed.* FROM placed JOIN protocol_baselines AS b USING (protocol, parameter)
    WHERE study_offset BETWEEN b.opens AND b.closes
      AND (study_offset < 0 OR at_time IS NULL OR first_dose_at IS NULL OR at_time <= first_dose_at)
    QUALIFY row_number() OVER (
        PARTITION BY protocol, patient_key, parameter
        ORDER BY on_date DESC, visit_rank, at_time DESC NULLS LAST, site_id DESC, event_id DESC) = 1
),
chosen AS (  -- R4.2: nearest to target, then later date, scheduled, later time, greatest record id
    SELECT placed.*, timepoint FROM placed JOIN protocol_windows AS w USING (protocol, parameter)
    WHERE study_offset BETWEEN w.opens AND w.closes
    QUALIFY row_number() OVER (
        PARTITION BY protocol, patient_key, timepoint, parameter
        ORDER BY abs(study_offset - w.target), on_date DESC, visit_rank, at_time DESC NULLS LAST, site_id DESC, event_id DESC) = 1
),
paired AS (
    SELECT w.protocol, p.patient_key, w.timepoint, w.parameter,
        t.first_dose_on + w.opens AS window_start, t.first_dose_on + w.closes AS window_end,
        b.value AS baseline_value, b.comparator AS baseline_comparator, b.normal AS baseline_normal,
        b.on_date AS baseline_on, b.site_id || '/' || b.event_id AS baseline_record,
        c.value, c.comparator, c.normal, c.on_date AS value_on, c.study_offset,
        c.site_id || '/' || c.event_id AS value_record, c.highest_item,
        -- R2.7 compares segments where both endoscopies have them
        CASE WHEN c.highest_item IS NOT NULL THEN b.segments END AS baseline_segments,
        CASE WHEN b.highest_item IS NOT NULL THEN c.segments END AS segments
    FROM patients AS p
    CROSS JOIN protocol_windows AS w
    LEFT JOIN treated AS t ON t.protocol = w.protocol AND t.patient_key = p.patient_key
    LEFT JOIN baselines AS b ON b.protocol = w.protocol AND b.patient_key = p.patient_key AND b.parameter = w.parameter
    LEFT JOIN chosen AS c ON c.protocol = w.protocol AND c.patient_key = p.patient_key
        AND c.timepoint = w.timepoint AND c.parameter = w.parameter
)
SELECT * EXCLUDE (baseline_segments, segments),
    -- R2.7: over segments explored at both visits; a total without segments stands for all of them
    CASE WHEN segments IS NULL OR baseline_segments IS NULL THEN baseline_value
         ELSE shared_score(baseline_segments, segments) END AS baseline_common,
    CASE WHEN segments IS NULL OR baseline_segments IS NULL THEN value
         ELSE shared_score(segments, baseline_segments) END AS value_common,
    coalesce(segment_lost(baseline_segments, segments), false) AS segment_lost
FROM paired
