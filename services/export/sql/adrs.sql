-- One row per patient, timepoint and endpoint as observed; one more for each way to count missing values that is due.
WITH targets AS (  -- day 0 is the baseline's
    SELECT DISTINCT timepoint, target FROM visit_windows WHERE timepoint <> 'baseline' UNION ALL SELECT 'baseline', 0
),
outcomes AS (
    SELECT o.*, t.first_dose_on, targets.target, o.endpoint IN (SELECT endpoint FROM endpoints_when_due) AS observed_when_due
    FROM patient_outcomes AS o
    JOIN patients AS p USING (patient_id)
    LEFT JOIN index_treatments AS t USING (patient_key)
    LEFT JOIN targets USING (timepoint)
    WHERE o.protocol = (SELECT protocol FROM asked)
),
counted AS (
    -- R4.8: clinical endpoints count once due; the others as soon as their value is there
    SELECT *, NULL AS dtype, observed AS met,
        coalesce(population AND observed IS NOT NULL
            AND (status IN ('final', 'missed') OR NOT observed_when_due), false) AS counts
    FROM outcomes
    UNION ALL
    SELECT *, 'NRI', nri, true FROM outcomes WHERE nri IS NOT NULL
    UNION ALL
    SELECT *, 'LOCF', locf, true FROM outcomes WHERE locf IS NOT NULL
)
SELECT asked.study AS STUDYID, usubjid(asked.study, site_id, patient_id) AS USUBJID, patient_id AS SUBJID, site_id AS SITEID,
    drug AS TRTA, first_dose_on AS TRTSDT,
    coalesce(code('endpoint', endpoint), 'X' || upper(left(md5(endpoint), 7))) AS PARAMCD,
    coalesce(term('endpoint', endpoint), spoken(endpoint)) AS PARAM,
    spoken(timepoint) AS AVISIT, target / 7 AS AVISITN, dtype AS DTYPE,
    CASE WHEN met THEN 1 WHEN NOT met THEN 0 END::BIGINT AS AVAL, flag(met) AS AVALC,
    value_on AS ADT, study_day(value_on, first_dose_on) AS ADY,
    value AS SRCVAL, comparator AS SRCCMP, baseline_value AS BASE, baseline_comparator AS BASECMP, baseline_on AS BASEDT,
    CASE WHEN first_dose_on IS NOT NULL THEN study_day_of(target) END AS AWTARGET,
    study_day(window_start, first_dose_on) AS AWLO, study_day(window_end, first_dose_on) AS AWHI,
    flag(population) AS POPFL, flag(counts) AS ANL01FL, status AS STATUS, reason AS REASON,
    array_to_string(event_ids, ' ') AS SRCRECS, counted.protocol AS PROTOCOL, protocol_version AS PROTVER
FROM counted CROSS JOIN asked
