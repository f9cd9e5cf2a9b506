-- One row per scheme, patient, timepoint (0 = baseline) and parameter with a value: the one observed (R4.2, R4.5).
WITH observed AS MATERIALIZED (
    SELECT c.patient_key, c.scheme, c.time, c.parameter, j.record_key, j.baseline_common, j.value_common, j.segment_lost
    FROM chosen AS c
    JOIN judged AS j ON j.scheme = c.scheme AND j.record_key = c.observed AND j.parameter = c.parameter
),
measured AS MATERIALIZED (
    SELECT o.*, m.value, m.comparator, m.on_date, m.site_id || '/' || m.event_id AS record, m.imputed
    FROM observed AS o
    JOIN measurements AS m ON m.record_key = o.record_key AND m.parameter = o.parameter
        AND (m.scheme IS NULL OR m.scheme = o.scheme)
)
SELECT m.patient_key, m.scheme, m.time, m.parameter, m.value, m.comparator, m.on_date,
    (m.on_date - t.first_dose_on)::SMALLINT AS study_offset, m.record, m.imputed,
    m.baseline_common, m.value_common, m.segment_lost
FROM measured AS m JOIN treated AS t USING (scheme, patient_key)
