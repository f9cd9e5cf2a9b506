-- One row per scheme and record that is an intercurrent event (R4.7); the first of them is `treated.intercurrent_on`.
SELECT t.scheme, r.site_id || '/' || r.event_id AS record, r.version, r.on_date,
    (r.on_date - t.first_dose_on)::INTEGER AS study_offset, r.drug,
    CASE r.action WHEN 'rescue' THEN 'rescue' WHEN 'stop' THEN 'stopped_' || r.reason ELSE 'other_therapy' END AS kind
FROM treated AS t
JOIN (FROM current_records WHERE event_type = 'treatment') AS r USING (patient_key)
LEFT JOIN scheme_therapies AS therapies ON therapies.scheme = t.scheme AND therapies.drug = r.drug
WHERE r.on_date >= t.first_dose_on AND (
    r.action = 'rescue'
    OR (r.action = 'stop' AND r.drug = t.drug AND r.reason IN ('adverse_event', 'lack_of_efficacy', 'death'))
    OR (r.action = 'start' AND r.drug <> t.drug AND therapies.drug IS NOT NULL))
UNION ALL
SELECT t.scheme, r.site_id || '/' || r.event_id, r.version, coalesce(r.resolved_on, r.on_date),
    (coalesce(r.resolved_on, r.on_date) - t.first_dose_on)::INTEGER, NULL, 'death'
FROM treated AS t
JOIN (FROM current_records WHERE event_type = 'adverse_event' AND fatal) AS r USING (patient_key)
LEFT JOIN withdrawals AS w ON w.patient_key = t.patient_key
WHERE coalesce(r.resolved_on, r.on_date) >= t.first_dose_on
  AND coalesce(r.resolved_on, r.on_date) <= least((SELECT today FROM clock), w.withdrawn_on)
