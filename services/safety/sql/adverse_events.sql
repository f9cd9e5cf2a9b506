-- One row per adverse event that counts: its newest version, the drug it belongs to, treatment-emergent or not.
WITH events AS (
    SELECT *, CASE onset_precision  -- R6.6: a partial date stands for its whole month or year
        WHEN 'month' THEN last_day(on_date)
        WHEN 'year' THEN make_date(year(on_date), 12, 31)
        ELSE on_date END AS onset_latest
    FROM current_records WHERE event_type = 'adverse_event'
),
on_drug AS (
    SELECT record_key, best.drug
    FROM (  -- the drug named in the report, else one still taken at onset, the one started last; else the last taken
        SELECT e.record_key, max(struct_pack(
            named := coalesce(x.drug = e.drug, false), taken := coalesce(e.on_date <= x.last_dose_on, true),
            since := CASE WHEN e.on_date <= coalesce(x.last_dose_on, e.on_date) THEN x.first_dose_on ELSE x.last_dose_on END,
            x.first_dose_on, x.drug)) AS best
        FROM events AS e JOIN exposures AS x USING (patient_key)
        WHERE e.onset_latest >= x.first_dose_on AND e.on_date <= coalesce(x.last_dose_on + 30, e.on_date)
        GROUP BY e.record_key
    )
)
SELECT e.patient_key, e.patient_id, e.site_id, e.event_id, e.version, e.term, e.meddra_pt, e.meddra_code,
    e.on_date AS onset_on, e.onset_precision, e.resolved_on, e.aware_on, e.grade, e.grade_source, e.serious, e.seriousness,
    e.related, e.expected, e.action_taken, e.outcome, coalesce(e.drug, on_drug.drug) AS drug,
    on_drug.record_key IS NOT NULL AS treatment_emergent,
    -- a report may blame a drug outside of its days at risk: it then counts in no rate
    coalesce(on_drug.drug = coalesce(e.drug, on_drug.drug), false) AS at_risk,
    (e.on_date - own.first_dose_on)::INTEGER AS study_offset,
    NULL::VARCHAR[] AS aesi, e.recorded_at
FROM events AS e
LEFT JOIN on_drug USING (record_key)
LEFT JOIN exposures AS own ON own.patient_key = e.patient_key AND own.drug = coalesce(e.drug, on_drug.drug)
