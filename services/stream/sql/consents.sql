-- One row per patient with a consent record: the consent in force, and whether an erasure was asked for.
SELECT patient_key, bool_or(consent_status = 'erase') AS erased,
    CASE WHEN max(row(on_date, site_id, event_id, consent_status))[4] = 'withdrawn' THEN max(on_date) END AS withdrawn_on
FROM standing_records WHERE event_type = 'consent'
GROUP BY patient_key
