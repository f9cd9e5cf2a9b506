-- One row per patient whose consent is withdrawn, and since when.
SELECT patient_key, max(on_date) AS withdrawn_on
FROM (FROM scope WHERE event_type = 'consent') ANTI JOIN passed_over USING (record_key, version, content, recorded_at)
GROUP BY patient_key
HAVING max(row(on_date, site_id, event_id, consent_status))[4] = 'withdrawn'
