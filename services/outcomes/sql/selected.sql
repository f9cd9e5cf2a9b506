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
        b AS baseline, c AS chosen,
        coalesce(b.highest_item IS NOT NULL AND c.highest_item IS NOT NULL, false) AS both_explored
    FROM patients AS p
    CROSS JOIN protocol_windows AS w
    LEFT JOIN treated AS t ON t.protocol = w.protocol AND t.patient_key = p.patient_key
    LEFT JOIN baselines AS b ON b.protocol = w.protocol AND b.patient_key = p.patient_key AND b.parameter = w.parameter
    LEFT JOIN chosen AS c ON c.protocol = w.protocol AND c.patient_key = p.patient_key
        AND c.timepoint = w.timepoint AND c.parameter = w.parameter
)
SELECT protocol, patient_key, timepoint, parameter, window_start, window_end,
    baseline.value AS baseline_value, baseline.comparator AS baseline_comparator, baseline.normal AS baseline_normal,
    baseline.on_date AS baseline_on, baseline.site_id || '/' || baseline.event_id AS baseline_record,
    chosen.value, chosen.comparator, chosen.normal, chosen.on_date AS value_on, chosen.study_offset,
    chosen.site_id || '/' || chosen.event_id AS value_record, chosen.highest_item,
    -- R2.7: over segments explored at both visits; a total without segments stands for all of them
    CASE WHEN both_explored THEN shared_score(baseline, chosen) ELSE baseline.value END AS baseline_common,
    CASE WHEN both_explored THEN shared_score(chosen, baseline) ELSE chosen.value END AS value_common,
    both_explored AND segment_lost(baseline, chosen) AS segment_lost
FROM paired
