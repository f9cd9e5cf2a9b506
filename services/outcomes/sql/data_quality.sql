-- One row per finding about a record or a patient; `found_at` is when its site recorded the cause.
WITH visible AS (SELECT * FROM scope SEMI JOIN current_records USING (patient_key)),
conflicts AS (
    SELECT site_id, patient_id, event_id, 'version_conflict' AS rule,
        'version ' || version || ' of this ' || event_type || ' record arrived with different contents' AS detail,
        max(recorded_at) AS found_at
    FROM visible GROUP BY site_id, patient_id, event_id, event_type, version
    HAVING count(DISTINCT content) > 1
),
moved AS (
    SELECT site_id, unnest(list_distinct(list(patient_id))) AS patient_id, event_id, 'record_moved' AS rule,
        'this record changed its patient or its event type: retract it and enter it anew' AS detail,
        max(recorded_at) AS found_at
    FROM visible GROUP BY site_id, event_id
    HAVING count(DISTINCT record_key) > 1
),
enrolments AS (
    SELECT site_id, patient_id, event_id, recorded_at,
        row_number() OVER (PARTITION BY patient_key ORDER BY on_date, site_id, event_id) AS nth
    FROM current_records WHERE event_type = 'enrolment'
),
unenrolled AS (
    SELECT p.site_id, p.patient_id, NULL AS event_id, 'no_enrolment' AS rule,
        'events without an enrolment: sex and age are unknown' AS detail, p.last_event_at AS found_at
    FROM patients AS p WHERE enrolled_on IS NULL
),
disagreeing AS (
    SELECT v.site_id, v.patient_id, v.event_id, 'total_disagrees' AS rule,
        'the reported CDAI differs from its components by more than 1 point; the components count (R1.9)' AS detail,
        v.recorded_at AS found_at
    FROM current_records AS v
    JOIN measurements AS m ON m.record_key = v.record_key
        AND m.parameter = 0 AND m.scheme = (SELECT scheme FROM protocols WHERE evaluated = 1)
    WHERE v.event_type = 'visit' AND abs(v.cdai_reported - m.value) > 1
    UNION ALL
    SELECT site_id, patient_id, event_id, 'total_disagrees',
        'the reported SES-CD differs from its segments by more than 1 point; the segments count (R1.9)', recorded_at
    FROM current_records WHERE event_type = 'visit' AND abs(ses_cd_reported - ses_cd) > 1
)
SELECT site_id, patient_id, event_id, rule, detail, found_at FROM conflicts
UNION ALL FROM moved
UNION ALL
SELECT site_id, patient_id, event_id, 'second_enrolment', 'an earlier enrolment of this patient counts', recorded_at
FROM enrolments WHERE nth > 1
UNION ALL FROM unenrolled
UNION ALL FROM disagreeing
