-- One row per patient: who they are, what they took and when, and in which analyses they count.
WITH counted AS (
    SELECT patient_id, bool_or(population AND timepoint <> 'baseline') AS counted,
        any_value(baseline_value) FILTER (endpoint = 'clinical_remission') AS cdai,
        any_value(baseline_value) FILTER (endpoint = 'endoscopic_response') AS ses_cd
    FROM patient_outcomes WHERE protocol = (SELECT protocol FROM asked)
    GROUP BY patient_id
)
SELECT asked.study AS STUDYID, usubjid(asked.study, p.site_id, p.patient_id) AS USUBJID,
    p.patient_id AS SUBJID, p.site_id AS SITEID,
    year(t.first_dose_on) - p.birth_year AS AGE,
    CASE WHEN AGE IS NOT NULL THEN 'YEARS' END AS AGEU,
    term('sex', p.sex) AS SEX,
    t.drug AS TRT01A, t.first_dose_on AS TRTSDT, t.last_dose_on AS TRTEDT,
    p.enrolled_on AS ENRLDT, p.consent_withdrawn_on AS CNSWDT, t.intercurrent_on AS ICEDT,
    CASE WHEN t.drug IS NOT NULL THEN flag(t.died_on IS NOT NULL) END AS DTHFL, t.died_on AS DTHDT,
    flag(t.drug IS NOT NULL) AS SAFFL, flag(coalesce(counted.counted, false)) AS EFFFL,
    p.height_cm AS HEIGHTBL, p.disease_location AS CDLOC, p.disease_behaviour AS CDBEHAV, flag(p.perianal) AS PERIANFL,
    p.disease_duration_years AS CDDURY,
    flag(len(p.prior_biologics) > 0) AS PRBIOFL, array_to_string(list_sort(p.prior_biologics), '; ') AS PRBIO,
    counted.cdai AS CDAIBL, counted.ses_cd AS SESCDBL
FROM patients AS p CROSS JOIN asked
LEFT JOIN index_treatments AS t ON t.patient_key = p.patient_key
LEFT JOIN counted ON counted.patient_id = p.patient_id
