-- One row per finding about a record or a patient; `found_at` is when its site recorded the cause.
WITH contents AS (  -- each content of each version once, as first recorded: copies tell nothing new
    SELECT record_key, patient_id, site_id, event_id, event_type, version, content, min(recorded_at) AS recorded_at
    FROM scope SEMI JOIN current_records USING (patient_key)
    GROUP BY ALL
),
first_cdais AS (
    SELECT record_key, value, imputed FROM measurements
    WHERE parameter = 0 AND scheme = (SELECT scheme FROM protocols WHERE evaluated = 1)
),
interruptions AS (
    SELECT i.site_id, i.patient_id, i.event_id, i.on_date, i.recorded_at, min(r.on_date) AS resumed_on
    FROM current_records AS i
    JOIN patients AS p ON p.patient_key = i.patient_key AND p.drug = i.drug AND p.first_dose_on <= i.on_date
    LEFT JOIN current_records AS r ON r.patient_key = i.patient_key AND r.drug = i.drug
        AND r.action IN ('start', 'resume') AND r.on_date >= i.on_date
    WHERE i.event_type = 'treatment' AND i.action = 'interrupt'
    GROUP BY ALL
),
found AS (
    SELECT site_id, patient_id, event_id, 'version_conflict' AS rule,
        event_type || ', version ' || version AS particulars, max(recorded_at) AS found_at
    FROM contents GROUP BY record_key, site_id, patient_id, event_id, event_type, version
    HAVING count(*) > 1
    UNION ALL
    SELECT site_id, unnest(list_distinct(list(patient_id))), event_id, 'record_moved', NULL, max(recorded_at)
    FROM (SELECT record_key, patient_id, site_id, event_id, min(recorded_at) AS recorded_at FROM contents GROUP BY ALL)
    GROUP BY site_id, event_id
    HAVING count(*) > 1
    UNION ALL
    SELECT site_id, patient_id, event_id, 'second_enrolment', NULL, recorded_at
    FROM current_records WHERE event_type = 'enrolment'
    QUALIFY row_number() OVER (PARTITION BY patient_key ORDER BY on_date, site_id, event_id) > 1
    UNION ALL
    SELECT site_id, patient_id, NULL, 'no_enrolment', NULL, last_event_at FROM patients WHERE enrolled_on IS NULL
    UNION ALL  -- R1.9
    SELECT v.site_id, v.patient_id, v.event_id, 'total_disagrees', 'CDAI', v.recorded_at
    FROM current_records AS v
    JOIN first_cdais AS m USING (record_key)
    WHERE v.event_type = 'visit' AND abs(v.cdai_reported - m.value) > 1
    UNION ALL
    SELECT site_id, patient_id, event_id, 'total_disagrees', 'HBI', recorded_at
    FROM current_records WHERE abs(hbi_reported - hbi) > 1
    UNION ALL
    SELECT site_id, patient_id, event_id, 'total_disagrees', 'SES-CD', recorded_at
    FROM current_records WHERE abs(ses_cd_reported - ses_cd) > 1
    UNION ALL  -- R1.8
    SELECT v.site_id, v.patient_id, v.event_id, 'cdai_imputed', NULL, v.recorded_at
    FROM current_records AS v
    JOIN first_cdais AS m USING (record_key)
    WHERE v.event_type = 'visit' AND m.imputed
    UNION ALL  -- contract: however long
    SELECT site_id, patient_id, event_id, 'treatment_interrupted',
        coalesce((resumed_on - on_date) || ' days', 'not resumed'), recorded_at
    FROM interruptions
    UNION ALL
    SELECT site_id, patient_id, event_id, unnest(warnings), NULL, recorded_at
    FROM current_records WHERE warnings IS NOT NULL
)
SELECT site_id, patient_id, event_id, rule, words || coalesce(': ' || particulars, '') AS detail, found_at
FROM found JOIN findings USING (rule)
