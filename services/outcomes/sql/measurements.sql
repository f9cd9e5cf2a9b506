-- One row per record and parameter with a value, and for the CDAI per scheme: what windows choose among.
-- Parameters are numbers: 0 CDAI, 1 HBI, 2 stool frequency, 3 abdominal pain, 4 PRO2, 5 SES-CD, then analytes.
WITH visits AS (FROM current_records WHERE event_type = 'visit'),
lacking AS (  -- R1.8: visits with all of the CDAI but the haematocrit or the weight
    SELECT patient_key, record_key, on_date AS needed_on, haematocrit_pct, weight_kg FROM visits
    WHERE cdai_points IS NOT NULL AND (haematocrit_pct IS NULL OR weight_kg IS NULL)
),
bodies AS (  -- haematocrits and weights of other records; an enrolment yields to a visit of its day
    SELECT patient_key, on_date, true AS seen, visit_rank, at_time, site_id, event_id, haematocrit_pct AS haematocrit,
        weight_kg AS weight
    FROM visits WHERE haematocrit_pct IS NOT NULL OR weight_kg IS NOT NULL
    UNION ALL
    SELECT patient_key, on_date, true, visit_rank, at_time, site_id, event_id, value, NULL
    FROM current_records WHERE event_type = 'lab' AND analyte = 'haematocrit' AND comparator IS NULL
    UNION ALL
    SELECT patient_key, enrolled_on, false, 0, NULL, '', '', NULL, enrolment_weight_kg
    FROM patients WHERE enrolment_weight_kg IS NOT NULL
),
borrowed AS (  -- the last ones up to the day of the visit
    SELECT record_key,
        max(row(on_date, seen, -visit_rank, at_time IS NOT NULL, coalesce(at_time, TIME '00:00:00'), site_id, event_id,
            haematocrit)) FILTER (haematocrit IS NOT NULL) AS haematocrit,
        max(row(on_date, seen, -visit_rank, at_time IS NOT NULL, coalesce(at_time, TIME '00:00:00'), site_id, event_id,
            weight)) FILTER (weight IS NOT NULL) AS weight
    FROM lacking JOIN bodies USING (patient_key) WHERE on_date <= needed_on
    GROUP BY record_key
),
completed AS (
    SELECT v.patient_key, v.record_key, v.on_date, v.at_time, v.visit_rank, v.site_id, v.event_id, s.scheme,
        s.hct_signed, s.component_rounding, v.cdai_points, v.cdai_reported, v.standard_weight_kg,
        p.reference_sex, p.height_cm,
        CASE WHEN v.haematocrit_pct IS NOT NULL THEN v.haematocrit_pct
             WHEN v.on_date - b.haematocrit[1] <= s.carried_days THEN b.haematocrit[8] END AS haematocrit,
        CASE WHEN v.weight_kg IS NOT NULL THEN v.weight_kg
             WHEN v.on_date - b.weight[1] <= s.carried_days THEN b.weight[8] END AS weight,
        (v.haematocrit_pct IS NULL AND v.on_date - b.haematocrit[1] > s.nearest_days)
            OR (v.weight_kg IS NULL AND v.on_date - b.weight[1] > s.nearest_days) AS carried
    FROM visits AS v
    CROSS JOIN schemes AS s
    LEFT JOIN borrowed AS b USING (record_key)
    LEFT JOIN (SELECT patient_key, reference_sex, height_cm FROM patients) AS p ON p.patient_key = v.patient_key
    WHERE v.cdai_points IS NOT NULL OR v.cdai_reported IS NOT NULL
),
terms AS (  -- R1.4, R1.5, in percentage points
    SELECT *,
        at_least(CASE WHEN NOT hct_signed THEN 0 END,
            CASE reference_sex WHEN 'male' THEN 47 WHEN 'female' THEN 42 END - haematocrit) AS low_haematocrit,
        at_least(-10, 100 * (1 - weight::DOUBLE / coalesce(standard_weight_kg::DOUBLE,
            (height_cm::DOUBLE / 100) ** 2 * CASE reference_sex WHEN 'male' THEN 22.1::DOUBLE WHEN 'female' THEN 20.8::DOUBLE END
        ))) AS under_weight
    FROM completed
),
computed AS (  -- R1.1, R1.6; null if a term is
    SELECT *, CASE WHEN component_rounding
        THEN cdai_points + 6 * floor(low_haematocrit + 0.5) + floor(under_weight::DECIMAL(18, 9) + 0.5)
        ELSE (cdai_points::DOUBLE + 6 * low_haematocrit::DOUBLE + under_weight)::DECIMAL(18, 9) END AS cdai
    FROM terms
)
SELECT scheme, patient_key, 0::TINYINT AS parameter, record_key, on_date, at_time, visit_rank, site_id, event_id,
    coalesce(cdai, cdai_reported) AS value, NULL::VARCHAR AS comparator, NULL::DECIMAL(18, 9) AS ref_high,
    NULL::DECIMAL(18, 9) AS age_limit, NULL::TINYINT[] AS segments, NULL::TINYINT AS highest_item,
    NULL::TINYINT AS ulceration, NULL::TINYINT AS ulcerated_surface, NULL::TINYINT AS narrowing,
    coalesce(cdai IS NOT NULL AND carried, false) AS imputed
FROM computed WHERE coalesce(cdai, cdai_reported) IS NOT NULL
UNION ALL
SELECT NULL, patient_key, 1, record_key, on_date, at_time, visit_rank, site_id, event_id, hbi,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false
FROM visits WHERE hbi IS NOT NULL
UNION ALL
SELECT NULL, patient_key, 2, record_key, on_date, at_time, visit_rank, site_id, event_id, stool_frequency,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false
FROM visits WHERE stool_frequency IS NOT NULL
UNION ALL
SELECT NULL, patient_key, 3, record_key, on_date, at_time, visit_rank, site_id, event_id, abdominal_pain,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false
FROM visits WHERE abdominal_pain IS NOT NULL
UNION ALL
SELECT NULL, patient_key, 4, record_key, on_date, at_time, visit_rank, site_id, event_id, pro2,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false
FROM visits WHERE pro2 IS NOT NULL
UNION ALL
SELECT NULL, patient_key, 5, record_key, on_date, at_time, visit_rank, site_id, event_id, ses_cd,
    NULL, NULL, NULL, ses_segments, ses_highest_item, ses_ulceration, ses_ulcerated_surface, ses_narrowing, false
FROM visits WHERE ses_cd IS NOT NULL
UNION ALL
SELECT NULL, c.patient_key, n.parameter, record_key, on_date, at_time, visit_rank, site_id, event_id, value,
    comparator, ref_high, (year(on_date) - birth_year  -- R3.3
        + CASE reference_sex WHEN 'male' THEN 0 WHEN 'female' THEN 10 END)::DECIMAL(18, 9) * 0.5,
    NULL, NULL, NULL, NULL, NULL, false
FROM (SELECT patient_key, record_key, on_date, at_time, visit_rank, site_id, event_id, value, comparator, ref_high, analyte
    FROM current_records WHERE event_type = 'lab') AS c
JOIN parameters AS n ON n.name = c.analyte
LEFT JOIN (SELECT patient_key, reference_sex, birth_year FROM patients) AS p USING (patient_key)
