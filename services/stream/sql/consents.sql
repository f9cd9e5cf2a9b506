-- One row per patient with a consent record: since when it is withdrawn, where that is in force.
SELECT patient_key,
    CASE WHEN max(row(on_date, site_id, event_id, consent_status))[4] = 'withdrawn' THEN max(on_date) END AS withdrawn_on
FROM standing_records WHERE event_type = 'consent'
GROUP BY patient_key
