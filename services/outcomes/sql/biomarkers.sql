-- One row per current laboratory record: canonical value, limits (those of the first protocol), raised or not.
SELECT patient_id, c.site_id, c.event_id, c.analyte, c.on_date AS collected_on,
    (c.on_date - p.first_dose_on)::INTEGER AS study_offset,
    c.value, c.comparator, c.unit, coalesce(m.upper_limit, c.ref_high) AS upper_limit, c.ref_low AS lower_limit,
    NOT coalesce(m.normal, is_normal(c.value, c.comparator, c.ref_high, true)) AS elevated
FROM (SELECT * EXCLUDE (patient_id) FROM current_records WHERE event_type = 'lab') AS c
JOIN patients AS p USING (patient_key)
LEFT JOIN measurements AS m ON m.patient_key = c.patient_key AND m.site_id = c.site_id AND m.event_id = c.event_id
    AND m.parameter = c.analyte AND m.protocol = (SELECT protocol FROM protocols WHERE evaluated = 1)
