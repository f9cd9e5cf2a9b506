-- One row per scheme, timepoint (0 = baseline), parameter and record: used, or why it was passed over (R4.1 to R4.7);
-- `observed` for the value as observed, `carried` for the last observation carried forward.
-- What was taken is read from `chosen`; the reasons compare each record with it, in the order of R4.2.
WITH known AS (  -- values that count, values that do not, and visits that state nothing of a score
    SELECT m.scheme, m.patient_key, m.parameter, m.record_key, m.on_date, m.at_time, m.visit_rank, m.site_id, m.event_id,
        m.value, m.comparator, m.imputed, r.version, NULL AS why, NULL::BIGINT AS winning_version
    FROM measurements AS m JOIN current_records AS r USING (record_key)
    UNION ALL
    SELECT m.scheme, m.patient_key, m.parameter, m.record_key, m.on_date, m.at_time, m.visit_rank, m.site_id, m.event_id,
        -- a CDAI that needs another record's haematocrit or weight is none of this version by itself
        CASE WHEN m.parameter = 0 AND (r.haematocrit_pct IS NULL OR r.weight_kg IS NULL) THEN r.cdai_reported
             ELSE m.value END,
        m.comparator, false, r.version, r.why, r.winning_version
    FROM uncounted_measurements AS m JOIN uncounted_records AS r USING (record_key)
    WHERE m.parameter <> 0 OR r.cdai_reported IS NOT NULL OR (r.haematocrit_pct IS NOT NULL AND r.weight_kg IS NOT NULL)
    UNION ALL
    SELECT w.scheme, r.patient_key, w.parameter, r.record_key, r.on_date, r.at_time, r.visit_rank, r.site_id, r.event_id,
        NULL, NULL, false, r.version,
        CASE WHEN (w.name = 'cdai' AND r.cdai_points IS NOT NULL) OR (w.name = 'ses_cd' AND r.ses_segments IS NOT NULL)
            THEN 'incomplete' ELSE 'no_value' END, NULL
    FROM current_records AS r
    JOIN (SELECT DISTINCT scheme, parameter, name FROM scheme_windows) AS w
        ON w.name IN ('cdai', 'hbi', 'stool_frequency', 'abdominal_pain', 'pro2', 'ses_cd')
    ANTI JOIN measurements AS m ON m.record_key = r.record_key AND m.parameter = w.parameter
        AND (m.scheme IS NULL OR m.scheme = w.scheme)
    WHERE r.event_type = 'visit'
),
placed AS (
    SELECT t.scheme, w.time, w.timepoint, w.name AS parameter, w.parameter AS number, w.target, w.opens, w.closes,
        k.* EXCLUDE (scheme, patient_key, parameter), k.site_id || '/' || k.event_id AS record,
        (k.on_date - t.first_dose_on)::INTEGER AS study_offset,
        coalesce(k.on_date >= t.intercurrent_on, false) AS spoilt,
        coalesce(k.on_date = t.first_dose_on AND k.at_time > t.first_dose_at, false) AS after_dose,
        abs((k.on_date - t.first_dose_on) - w.target)::INTEGER AS distance
    FROM known AS k
    JOIN treated AS t ON t.patient_key = k.patient_key AND (k.scheme IS NULL OR k.scheme = t.scheme)
    JOIN scheme_windows AS w ON w.scheme = t.scheme AND w.parameter = k.parameter
),
marked AS (
    SELECT p.*, p.study_offset BETWEEN p.opens AND p.closes AS within,
        p.why IS NULL AND coalesce(c.observed = p.record_key, false) AS used,
        p.why IS NULL AND coalesce(c.unspoilt = p.record_key, false) AS forward
    FROM placed AS p
    LEFT JOIN chosen AS c ON c.scheme = p.scheme AND c.time = p.time AND c.parameter = p.number
),
compared AS (
    SELECT *, max(struct_pack(distance, study_offset, visit_rank, at_time)) FILTER (used) OVER whole AS best,
        max(struct_pack(within, distance, study_offset, visit_rank, at_time)) FILTER (forward) OVER whole AS last
    FROM marked WINDOW whole AS (PARTITION BY scheme, time, number)
)
SELECT scheme, time, timepoint, parameter, number, record, version, winning_version, on_date, at_time, study_offset,
    value, comparator, imputed,
    CASE WHEN used THEN 'used'
         WHEN why IS NOT NULL THEN why
         WHEN study_offset < opens THEN 'before_window'
         WHEN study_offset > closes THEN 'after_window'
         WHEN time = 0 AND after_dose THEN 'after_first_dose'
         WHEN distance > best.distance THEN 'farther_from_target'
         WHEN study_offset < best.study_offset THEN 'earlier_date'
         WHEN visit_rank > best.visit_rank THEN 'less_scheduled'
         WHEN at_time IS DISTINCT FROM best.at_time THEN 'earlier_time'
         ELSE 'smaller_record' END AS observed,
    CASE WHEN time = 0 THEN NULL
         WHEN forward THEN 'used'
         WHEN why IS NOT NULL THEN why
         WHEN spoilt THEN 'after_intercurrent_event'
         WHEN study_offset > closes THEN 'after_window'
         WHEN NOT within AND study_offset < 1 THEN 'baseline_not_carried'
         WHEN NOT within AND last.within THEN 'before_window'
         WHEN within AND distance > last.distance THEN 'farther_from_target'
         WHEN study_offset < last.study_offset THEN 'earlier_date'
         WHEN visit_rank > last.visit_rank THEN 'less_scheduled'
         WHEN at_time IS DISTINCT FROM last.at_time THEN 'earlier_time'
         ELSE 'smaller_record' END AS carried
FROM compared
WHERE why IS NULL OR within
