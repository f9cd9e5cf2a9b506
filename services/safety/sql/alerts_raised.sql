-- One row per record and alert rule that some version of the record met; withdrawn where the record no longer does.
WITH versions AS (  -- of every version the content that counts (R4.4), dated up to today and within consent
    SELECT s.* FROM scope AS s LEFT JOIN withdrawals AS w USING (patient_key)
    WHERE NOT s.retracted AND s.event_type IN ('adverse_event', 'lab') AND s.on_date <= (SELECT today FROM clock)
      AND (w.withdrawn_on IS NULL OR s.on_date <= w.withdrawn_on)
      AND (s.serious OR s.grade >= 3 OR s.lab_grade >= 2)
      AND NOT EXISTS (
          SELECT 1 FROM scope AS o WHERE o.record_key = s.record_key AND o.version = s.version
          AND row(o.content, o.recorded_at) < row(s.content, s.recorded_at))
),
met AS (
    SELECT *, 'serious_event' AS rule,
        -- R6.5: death and danger to life at once, the rest the same day
        CASE WHEN list_has_any(seriousness, ['death', 'life_threatening']) THEN 'critical' ELSE 'high' END AS severity,
        'Serious adverse event: ' || term AS title, array_to_string(seriousness, ', ') AS evidence
    FROM versions WHERE serious
    UNION ALL
    SELECT *, 'grade_3_plus', CASE WHEN grade = 5 THEN 'critical' ELSE 'high' END,
        'Grade ' || grade || ' adverse event: ' || term, 'reported grade ' || grade || ' (' || grade_source || ')'
    FROM versions WHERE grade >= 3
    UNION ALL
    SELECT *, 'lab_toxicity', CASE lab_grade WHEN 2 THEN 'medium' WHEN 3 THEN 'high' ELSE 'critical' END,
        'Lymphopenia grade ' || lab_grade,
        analyte || ' ' || coalesce(comparator, '') || rtrim(rtrim(value::VARCHAR, '0'), '.') || ' ' || unit || ' (CTCAE 5.0)'
    FROM versions WHERE lab_grade >= 2
),
latest AS (  -- what the newest version that met the rule says
    FROM met QUALIFY row_number() OVER (PARTITION BY record_key, rule ORDER BY version DESC) = 1
)
SELECT m.patient_key, left(sha256(concat_ws(chr(31), m.rule, m.patient_id, m.site_id, m.event_id)), 32) AS alert_id,
    m.rule, m.severity, m.patient_id, m.site_id, coalesce(m.drug, taken.drug) AS drug, m.title, m.evidence,
    m.received_at AS raised_at, m.recorded_at AS event_recorded_at, m.event_type, m.event_id, m.on_date,
    now_standing.version IS NULL AS withdrawn
FROM latest AS m
LEFT JOIN current_records AS now_standing
    ON now_standing.record_key = m.record_key AND now_standing.version = m.version
LEFT JOIN (
    SELECT l.record_key, l.rule, arg_max(x.drug, row(x.first_dose_on, x.drug)) AS drug
    FROM latest AS l JOIN exposures AS x USING (patient_key)
    WHERE l.on_date BETWEEN x.first_dose_on AND coalesce(x.last_dose_on + 30, l.on_date)
    GROUP BY l.record_key, l.rule
) AS taken ON taken.record_key = m.record_key AND taken.rule = m.rule
