-- One row per laboratory result that counts, in canonical units, with its baseline, limits and grade.
WITH results AS (
    SELECT b.*, p.site_id AS centre, t.drug, t.first_dose_on, (b.collected_on - t.first_dose_on)::INTEGER AS days,
        b.site_id || '/' || b.event_id AS record
    FROM biomarkers AS b
    JOIN patients AS p ON p.patient_id = b.patient_id
    LEFT JOIN index_treatments AS t ON t.patient_key = p.patient_key
),
used AS (  -- by the normalisation endpoints, as baseline or value
    SELECT DISTINCT patient_id, replace(endpoint, '_normalisation', '') AS analyte, unnest(event_ids) AS record, baseline_on
    FROM patient_outcomes
    WHERE protocol = (SELECT protocol FROM asked) AND endpoint LIKE '%\_normalisation' ESCAPE '\'
),
normalised AS (
    SELECT DISTINCT replace(endpoint, '_normalisation', '') AS analyte
    FROM patient_outcomes
    WHERE protocol = (SELECT protocol FROM asked) AND endpoint LIKE '%\_normalisation' ESCAPE '\'
),
used_records AS (SELECT DISTINCT patient_id, analyte, record FROM used),
baseline_records AS (
    SELECT DISTINCT patient_id, analyte, record
    FROM results JOIN used USING (patient_id, analyte, record) WHERE collected_on = baseline_on
    UNION  -- R5.3 for analytes that no endpoint needs: the last result at or before the first dose
    SELECT patient_id, analyte, max(row(collected_on, site_id, event_id, record))[4]
    FROM results WHERE days <= 0 AND analyte NOT IN (SELECT analyte FROM normalised)
    GROUP BY patient_id, analyte
),
baselines AS (
    SELECT patient_id, analyte, record, value, comparator, collected_on
    FROM results SEMI JOIN baseline_records USING (patient_id, analyte, record)
    QUALIFY row_number() OVER (PARTITION BY patient_id, analyte ORDER BY collected_on DESC, record) = 1
),
placed AS (  -- R4.1; an analyte that no endpoint needs follows the clinical visits
    SELECT r.record, r.patient_id, arg_min(w.timepoint, abs(r.days - w.target)) AS timepoint,
        arg_min(w.target, abs(r.days - w.target)) AS target
    FROM results AS r
    JOIN visit_windows AS w ON r.days BETWEEN w.opens AND w.closes
        AND w.parameter = CASE WHEN r.analyte IN (SELECT parameter FROM visit_windows) THEN r.analyte ELSE 'cdai' END
    GROUP BY r.record, r.patient_id
),
grades AS (
    SELECT patient_id, site_id || '/' || event_id AS record, max(grade) AS grade, max(baseline_grade) AS baseline_grade,
        arg_max(direction, grade) AS direction
    FROM lab_toxicities GROUP BY ALL
)
SELECT asked.study AS STUDYID, usubjid(asked.study, r.centre, r.patient_id) AS USUBJID, r.patient_id AS SUBJID,
    r.centre AS SITEID, r.drug AS TRTA, r.first_dose_on AS TRTSDT,
    coalesce(code('analyte', r.analyte), upper(left(r.analyte, 8))) AS PARAMCD,
    coalesce(term('analyte', r.analyte), r.analyte) || ' (' || r.unit || ')' AS PARAM,
    r.collected_on AS ADT, study_day(r.collected_on, r.first_dose_on) AS ADY,
    CASE WHEN b.record = r.record THEN 'Baseline' ELSE spoken(placed.timepoint) END AS AVISIT,
    CASE WHEN b.record = r.record THEN 0 ELSE placed.target / 7 END AS AVISITN,
    r.value AS AVAL, coalesce(r.comparator, '') || digits(r.value) AS AVALC, r.comparator AS AVALCMP, r.unit AS AVALU,
    b.value AS BASE, b.comparator AS BASECMP,
    -- a difference of bounds is not known
    CASE WHEN r.days > 0 AND coalesce(r.comparator, b.comparator) IS NULL THEN r.value - b.value END AS CHG,
    CASE WHEN b.value <> 0 THEN 100 * CHG::DOUBLE / b.value::DOUBLE END AS PCHG,
    r.lower_limit AS ANRLO, r.upper_limit AS ANRHI,
    CASE WHEN r.elevated THEN 'HIGH'
         WHEN r.value < r.lower_limit AND coalesce(r.comparator, '<') IN ('<', '<=') THEN 'LOW'
         WHEN r.value = r.lower_limit AND r.comparator = '<' THEN 'LOW'
         WHEN NOT r.elevated AND (r.lower_limit IS NULL OR (r.value >= r.lower_limit AND coalesce(r.comparator, '>') IN ('>', '>=')))
             THEN 'NORMAL' END AS ANRIND,
    CASE WHEN b.record = r.record THEN 'Y' END AS ABLFL,
    grades.grade::VARCHAR AS ATOXGR, grades.baseline_grade::VARCHAR AS BTOXGR, upper(grades.direction) AS ATOXDIR,
    CASE WHEN used_records.record IS NOT NULL THEN 'Y' END AS ANL01FL, r.record AS SRCREC
FROM results AS r CROSS JOIN asked
LEFT JOIN baselines AS b ON b.patient_id = r.patient_id AND b.analyte = r.analyte
LEFT JOIN placed ON placed.patient_id = r.patient_id AND placed.record = r.record
LEFT JOIN grades ON grades.patient_id = r.patient_id AND grades.record = r.record
LEFT JOIN used_records
    ON used_records.patient_id = r.patient_id AND used_records.analyte = r.analyte AND used_records.record = r.record
