-- One row per adverse event that counts.
SELECT asked.study AS STUDYID, usubjid(asked.study, coalesce(p.site_id, a.site_id), a.patient_id) AS USUBJID,
    a.patient_id AS SUBJID, coalesce(p.site_id, a.site_id) AS SITEID, a.drug AS TRTA, t.first_dose_on AS TRTSDT,
    row_number() OVER (PARTITION BY a.patient_id ORDER BY a.onset_on, a.site_id, a.event_id) AS AESEQ,
    a.term AS AETERM, a.meddra_pt AS AEDECOD, a.meddra_code::VARCHAR AS AEPTCD,
    CASE a.onset_precision WHEN 'month' THEN strftime(a.onset_on, '%Y-%m') WHEN 'year' THEN strftime(a.onset_on, '%Y')
        ELSE strftime(a.onset_on, '%Y-%m-%d') END AS AESTDTC,
    CASE WHEN coalesce(a.onset_precision, 'day') = 'day' THEN a.onset_on END AS ASTDT,  -- R4.3: not imputed
    study_day(ASTDT, t.first_dose_on) AS ASTDY,
    a.resolved_on AS AENDT, study_day(a.resolved_on, t.first_dose_on) AS AENDY, a.aware_on AS AWAREDT,
    a.grade::VARCHAR AS AETOXGR, term('severity', least(a.grade, 3)::VARCHAR) AS AESEV, flag(a.serious) AS AESER,
    flag(a.serious AND coalesce(list_contains(a.seriousness, 'death'), false)) AS AESDTH,
    flag(a.serious AND coalesce(list_contains(a.seriousness, 'life_threatening'), false)) AS AESLIFE,
    flag(a.serious AND coalesce(list_contains(a.seriousness, 'hospitalisation'), false)) AS AESHOSP,
    flag(a.serious AND coalesce(list_contains(a.seriousness, 'disability'), false)) AS AESDISAB,
    flag(a.serious AND coalesce(list_contains(a.seriousness, 'congenital_anomaly'), false)) AS AESCONG,
    flag(a.serious AND coalesce(list_contains(a.seriousness, 'medically_important'), false)) AS AESMIE,
    term('related', a.related) AS AEREL, flag(a.expected) AS AEEXPFL,
    term('action_taken', a.action_taken) AS AEACN, term('outcome', a.outcome) AS AEOUT,
    flag(a.treatment_emergent) AS TRTEMFL, flag(len(a.aesi) > 0) AS AESIFL, array_to_string(a.aesi, '; ') AS AESICAT,
    a.site_id || '/' || a.event_id AS SRCREC
FROM adverse_events AS a CROSS JOIN asked
LEFT JOIN patients AS p ON p.patient_id = a.patient_id
LEFT JOIN index_treatments AS t ON t.patient_key = p.patient_key
