-- One row per thing that happened to a patient, in clinical time: treatments, adverse events, laboratory grades.
SELECT patient_key, patient_id, site_id, on_date, event_type, event_id,
    CASE event_type
        WHEN 'treatment' THEN action || ' ' || drug || coalesce(' (' || reason || ')', '')
        WHEN 'adverse_event' THEN term || coalesce(', grade ' || grade, '') || CASE WHEN serious THEN ', serious' ELSE '' END
        WHEN 'lab' THEN analyte || ' ' || coalesce(comparator, '') || rtrim(rtrim(value::VARCHAR, '0'), '.') || ' ' || unit
            || coalesce(', CTCAE grade ' || lab_grade, '')
        WHEN 'consent' THEN 'consent ' || consent_status
        ELSE event_type END AS description,
    recorded_at
FROM current_records
