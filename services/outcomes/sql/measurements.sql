-- One row per protocol, record and parameter with a value: what windows choose among.
WITH visits AS (
    SELECT c.*,
        -- R1.4 (clip) and R1.5: the two terms that need the patient, in percentage points
        at_least(0, CASE reference_sex WHEN 'male' THEN 47 WHEN 'female' THEN 42 END - haematocrit_pct) AS low_haematocrit,
        at_least(-10, 100 * (1 - c.weight_kg::DOUBLE / coalesce(standard_weight_kg::DOUBLE,
            (p.height_cm::DOUBLE / 100) ** 2 * CASE reference_sex WHEN 'male' THEN 22.1::DOUBLE WHEN 'female' THEN 20.8::DOUBLE END
        ))) AS under_weight
    FROM (SELECT * EXCLUDE (reference_sex, height_cm) FROM current_records WHERE event_type = 'visit') AS c
    LEFT JOIN (SELECT patient_key, reference_sex, height_cm FROM patients) AS p USING (patient_key)
),
scores AS (
    SELECT *, coalesce(
        (cdai_points::DOUBLE + 6 * low_haematocrit::DOUBLE + under_weight)::DECIMAL(18, 9),  -- R1.1; null if a term is
        cdai_reported) AS cdai
    FROM visits
),
labs AS (
    SELECT c.*, limits.protocol, limits.inclusive, CASE  -- R3.1, R3.3
        WHEN NOT limits.laboratory THEN limits.fixed
        WHEN c.ref_high IS NOT NULL THEN c.ref_high
        WHEN limits.miller THEN (year(c.on_date) - p.birth_year
            + CASE p.reference_sex WHEN 'male' THEN 0 WHEN 'female' THEN 10 END)::DECIMAL(18, 9) * 0.5
        ELSE limits.fixed END AS upper_limit
    FROM current_records AS c
    JOIN protocol_limits AS limits ON limits.parameter = c.analyte
    LEFT JOIN patients AS p USING (patient_key)
    WHERE c.event_type = 'lab'
)
SELECT protocol, patient_key, 'cdai' AS parameter, on_date, at_time, visit_rank, site_id, event_id,
    cdai AS value, NULL::VARCHAR AS comparator, NULL::DECIMAL(18, 9) AS upper_limit, NULL::BOOLEAN AS normal,
    NULL::TINYINT[] AS segments, NULL::TINYINT AS highest_item
FROM scores CROSS JOIN protocols WHERE cdai IS NOT NULL
UNION ALL
SELECT protocol, patient_key, 'ses_cd', on_date, at_time, visit_rank, site_id, event_id,
    ses_cd, NULL, NULL, NULL, ses_segments, ses_highest_item
FROM visits CROSS JOIN protocols WHERE ses_cd IS NOT NULL
UNION ALL
SELECT protocol, patient_key, analyte, on_date, at_time, visit_rank, site_id, event_id,
    value, comparator, upper_limit, is_normal(value, comparator, upper_limit, inclusive), NULL, NULL
FROM labs
