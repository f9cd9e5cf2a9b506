-- One row per patient, protocol, timepoint and window that is near and lacks a value: what is missing, and until when.
-- Near: open, or opening within 14 days; on its last day a value still counts, though the outcome is due (R4.1, R4.6).
-- Asked for is what the protocol's headline needs, and whatever the patient has a baseline of.
WITH waiting AS (
    SELECT e.patient_key, e.patient_id, e.site_id, e.drug, e.protocol, e.scheme, e.timepoint, e.window_start, e.window_end,
        n.name AS parameter, bool_or(e.population) AS counted
    FROM endpoint_states AS e
    JOIN parameters AS n ON e.parameters & (1::BIGINT << n.parameter) <> 0
    WHERE e.status IN ('not_due', 'open', 'missed') AND e.time > 0
      AND (e.headline_parameters | e.baseline_present) & (1::BIGINT << n.parameter) <> 0
      AND e.window_start <= (SELECT today FROM clock) + 14 AND e.window_end >= (SELECT today FROM clock)
    GROUP BY ALL
),
asked AS (  -- nobody asks the dead, or for what could not be used any more
    SELECT w.* EXCLUDE (scheme) FROM waiting AS w
    JOIN patients AS p USING (patient_key)
    JOIN treated AS t ON t.patient_key = w.patient_key AND t.scheme = w.scheme
    WHERE t.died_on IS NULL AND p.consent_withdrawn_on IS NULL
)
SELECT patient_id, site_id, drug, protocol, timepoint, window_start, window_end,
    CASE WHEN window_start > (SELECT today FROM clock) THEN 'opens'
         WHEN window_end <= (SELECT today FROM clock) + 14 THEN 'closes'
         ELSE 'open' END AS state,
    list(parameter ORDER BY parameter) AS missing,
    coalesce(list(parameter ORDER BY parameter) FILTER (counted), []) AS counted,  -- by an outcome: the baseline qualifies
    (window_end - (SELECT today FROM clock))::INTEGER AS days_left
FROM asked
GROUP BY ALL
ORDER BY window_end, site_id, patient_id, protocol, timepoint
