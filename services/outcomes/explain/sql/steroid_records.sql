-- One row per scheme and record that tells of systemic corticosteroids (R2.5), up to today.
SELECT t.scheme, r.site_id || '/' || r.event_id AS record, r.version, r.on_date,
    (r.on_date - t.first_dose_on)::INTEGER AS study_offset, r.drug,
    CASE WHEN r.event_type = 'treatment' THEN r.action WHEN r.corticosteroid THEN 'taken' ELSE 'not_taken' END AS kind
FROM treated AS t
JOIN current_records AS r USING (patient_key)
LEFT JOIN scheme_corticosteroids AS s ON s.scheme = t.scheme AND s.drug = r.drug
WHERE (r.event_type = 'treatment' AND s.drug IS NOT NULL) OR (r.event_type = 'visit' AND r.corticosteroid IS NOT NULL)
