-- One row per current laboratory record: canonical value, limits (those of the first protocol), raised or not.
WITH first_limits AS (
    SELECT l.* FROM protocol_limits AS l JOIN protocols USING (protocol) WHERE evaluated = 1
),
limited AS (
    SELECT c.*, p.first_dose_on, coalesce(l.inclusive, true) AS inclusive,
        CASE WHEN l.parameter IS NULL THEN c.ref_high ELSE coalesce(upper_limit(
            l.laboratory, l.fixed, l.miller, c.ref_high,
            (year(c.on_date) - p.birth_year + CASE p.reference_sex WHEN 'male' THEN 0 WHEN 'female' THEN 10 END
            )::DECIMAL(18, 9) * 0.5), c.ref_high) END AS judged_by
    FROM (FROM current_records WHERE event_type = 'lab') AS c
    JOIN patients AS p ON p.patient_key = c.patient_key
    LEFT JOIN first_limits AS l ON l.parameter = c.analyte
)
SELECT patient_id, site_id, event_id, analyte, on_date AS collected_on,
    (on_date - first_dose_on)::INTEGER AS study_offset,
    value, comparator, unit, judged_by AS upper_limit, ref_low AS lower_limit,
    NOT is_normal(value, comparator, judged_by, inclusive) AS elevated
FROM limited
