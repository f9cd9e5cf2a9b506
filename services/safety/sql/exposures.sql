-- One row per patient and drug taken: first and last dose, and when its days at risk end (R6.6; null = they go on).
WITH taken AS (
    SELECT patient_key, drug, min(on_date) FILTER (action = 'start') AS first_dose_on,
        max(on_date) FILTER (action IN ('start', 'resume')) AS resumed_on,
        max(on_date) FILTER (action = 'stop') AS stopped_on
    FROM current_records
    WHERE event_type = 'treatment' AND drug NOT IN (SELECT drug FROM corticosteroids)
    GROUP BY patient_key, drug
    HAVING first_dose_on IS NOT NULL
),
dosed AS (SELECT *, CASE WHEN stopped_on > resumed_on THEN stopped_on END AS last_dose_on FROM taken)
SELECT patient_key, site_id, drug, first_dose_on, last_dose_on,
    least(last_dose_on + 30, died_on, consent_withdrawn_on) AS risk_ends_on
FROM dosed JOIN patients USING (patient_key)
