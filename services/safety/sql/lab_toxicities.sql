-- One row per laboratory record of CTCAE grade 1 or more (R5.1), with the grade at baseline.
WITH graded AS (
    SELECT * FROM current_records WHERE event_type = 'lab' AND lab_grade IS NOT NULL
),
first_doses AS (SELECT patient_key, min(first_dose_on) AS first_dose_on FROM exposures GROUP BY patient_key),
baselines AS (  -- R5.3: the last grade at or before the first dose
    SELECT patient_key, analyte,
        max(row(on_date, at_time IS NOT NULL, at_time, site_id, event_id, lab_grade))[6] AS baseline_grade
    FROM graded JOIN first_doses USING (patient_key) WHERE on_date <= first_dose_on
    GROUP BY patient_key, analyte
),
reported AS (  -- an adverse event that says the same within two weeks: shown beside it, never counted twice
    SELECT g.record_key, min(row(abs(g.on_date - a.onset_on), a.site_id, a.event_id))[3] AS reported_event_id
    FROM graded AS g JOIN adverse_events AS a USING (patient_key)
    JOIN lab_terms AS t ON t.analyte = g.analyte AND t.term = lower(a.term)
    WHERE abs(g.on_date - a.onset_on) <= 14
    GROUP BY g.record_key
)
SELECT g.patient_key, g.patient_id, g.site_id, g.event_id, g.analyte, g.on_date AS collected_on, g.value, g.comparator, g.unit,
    g.lab_grade AS grade, 'low' AS direction, b.baseline_grade, g.lab_grade > b.baseline_grade AS worsened,
    r.reported_event_id
FROM graded AS g
LEFT JOIN baselines AS b USING (patient_key, analyte)
LEFT JOIN reported AS r USING (record_key)
WHERE g.lab_grade >= 1
