-- One row per laboratory result that counts, in canonical units, with its baseline, limits and grade.
WITH results AS (
    SELECT b.*, p.site_id AS centre, t.drug, t.first_dose_on, (b.collected_on - t.first_dose_on)::INTEGER AS days,
        b.site_id || '/' || b.event_id AS record
    FROM biomarkers AS b
    JOIN patients AS p ON p.patient_id = b.patient_id
    CROSS JOIN asked
    LEFT JOIN treated AS t ON t.patient_key = p.patient_key AND t.protocol = asked.protocol
),
used AS (  -- by the normalisation endpoints: the baseline stands before the value
    SELECT patient_id, replace(endpoint, '_normalisation', '') AS analyte, baseline_on IS NOT NULL AS has_baseline, event_ids
    FROM patient_outcomes
    WHERE protocol = (SELECT protocol FROM asked) AND endpoint LIKE '%\_normalisation' ESCAPE '\'
),
used_records AS (SELECT DISTINCT patient_id, analyte, unnest(event_ids) AS record FROM used),
baseline_records AS (
    SELECT DISTINCT patient_id, analyte, event_ids[1] AS record FROM used WHERE has_baseline
    UNION  -- R5.3 for all other analytes: the last result at or before the first dose
    SELECT patient_id, analyte, max(row(collected_on, site_id, event_id, record))[4]
    FROM results WHERE days <= 0 AND analyte NOT IN (SELECT analyte FROM used)
    GROUP BY patient_id, analyte
),
baselines AS (
    SELECT patient_id, analyte, record, value, comparator, collected_on
    FROM results SEMI JOIN baseline_records USING (patient_id, analyte, record)
    QUALIFY row_number() OVER (PARTITION BY patient_id, analyte ORDER BY collected_on DESC, record) = 1
),
windows AS (  -- R4.1; an analyte that no endpoint needs follows the clinical visits
    SELECT a.analyte, w.timepoint, w.target, w.opens, w.closes
    FROM (SELECT DISTINCT analyte FROM results) AS a
    JOIN protocol_windows AS w ON w.protocol = (SELECT protocol FROM asked)
        AND w.parameter = CASE WHEN a.analyte IN (SELECT parameter FROM protocol_windows) THEN a.analyte ELSE 'cdai' END
),
placed AS (
    SELECT record, patient_id, arg_min(timepoint, abs(days - target)) AS timepoint,
        arg_min(target, abs(days - target)) AS target
    FROM results JOIN windows USING (analyte)
    WHERE days BETWEEN opens AND closes
    GROUP BY record, patient_id
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
