-- One row per protocol and treated patient: what was known when treatment began. Yes and no are 1 and 0.
WITH measured AS (  -- a censored value is no number
    SELECT s.scheme, s.patient_key,
        max(value) FILTER (name = 'cdai') AS cdai,
        max(value) FILTER (name = 'ses_cd') AS ses_cd,
        max(value) FILTER (name = 'crp') AS crp,
        max(value) FILTER (name = 'fcal') AS fcal
    FROM selected AS s JOIN parameters USING (parameter)
    WHERE s.time = 0 AND s.comparator IS NULL
    GROUP BY s.scheme, s.patient_key
)
SELECT protocols.protocol, p.patient_id, p.site_id, t.drug,
    cdai::DOUBLE AS baseline_cdai, ses_cd::DOUBLE AS baseline_ses_cd,
    crp::DOUBLE AS baseline_crp, fcal::DOUBLE AS baseline_fcal,
    (year(t.first_dose_on) - p.birth_year)::DOUBLE AS age,
    CASE p.sex WHEN 'male' THEN 1.0 WHEN 'female' THEN 0.0 END::DOUBLE AS male_sex,
    p.disease_duration_years::DOUBLE AS disease_duration,
    len(p.prior_biologics)::DOUBLE AS prior_biologics,
    p.perianal::DOUBLE AS perianal_disease,
    (p.disease_behaviour <> 'B1')::DOUBLE AS complicated_behaviour,
    (p.disease_location IN ('L2', 'L3'))::DOUBLE AS colonic_disease
FROM treated AS t
JOIN protocols USING (scheme)
JOIN patients AS p USING (patient_key)
LEFT JOIN measured AS m ON m.scheme = t.scheme AND m.patient_key = t.patient_key
