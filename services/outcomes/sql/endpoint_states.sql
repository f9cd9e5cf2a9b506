-- One row per protocol, patient, timepoint and endpoint: met or not (R2, R3), and the state (R4.6), as of today.
WITH compared AS (
    SELECT s.*, e.endpoint, e.ordinal, e.needs_baseline, e.observed_when_due, e.baseline_reason, e.kind,
        p.patient_id, p.site_id, p.consent_withdrawn_on, t.drug, t.intercurrent_on,
        CASE WHEN e.baseline_raised THEN NOT s.baseline_normal
             ELSE s.baseline_value >= e.baseline_at_least END AS qualifies,
        CASE e.kind
            WHEN 'fall' THEN s.baseline_value - s.value >= e.limit_value                              -- R2.4
            WHEN 'below' THEN s.value < e.limit_value                                                 -- R2.4
            WHEN 'at_most' THEN CASE WHEN s.segment_lost THEN only_failure(s.value <= e.limit_value)  -- R2.7
                ELSE s.value <= e.limit_value END
            WHEN 'per_cent_fall' THEN CASE WHEN s.segment_lost
                THEN only_failure(fell_per_cent(s.baseline_value, s.value_common, e.limit_value, e.baseline4_fall))
                ELSE fell_per_cent(s.baseline_common, s.value_common, e.limit_value, e.baseline4_fall) END
            WHEN 'endoscopic_remission' THEN CASE WHEN s.segment_lost
                THEN only_failure(s.value <= e.limit_value
                    AND s.baseline_value - s.value_common >= e.minimum_fall AND s.highest_item <= e.maximum_item)
                ELSE s.value <= e.limit_value
                    AND s.baseline_common - s.value_common >= e.minimum_fall AND s.highest_item <= e.maximum_item END
            WHEN 'normalisation' THEN CASE WHEN NOT s.baseline_normal THEN s.normal END               -- R3.2
        END AS met
    FROM selected AS s
    JOIN protocol_endpoints AS e USING (protocol, parameter)
    JOIN patients AS p USING (patient_key)
    LEFT JOIN treated AS t ON t.protocol = s.protocol AND t.patient_key = s.patient_key
),
stated AS (
    SELECT *, CASE
            WHEN drug IS NULL THEN 'not_applicable'
            WHEN consent_withdrawn_on < window_start THEN 'not_applicable'
            WHEN needs_baseline AND baseline_value IS NULL THEN 'not_applicable'
            WHEN (SELECT today FROM clock) < window_start THEN 'not_due'
            WHEN (SELECT today FROM clock) < window_end THEN CASE WHEN value IS NULL THEN 'open' ELSE 'provisional' END
            WHEN value IS NULL THEN 'missed'
            ELSE 'final' END AS status,
        coalesce((SELECT today FROM clock) >= window_end, false) AS due
    FROM compared
),
counted AS (
    SELECT *, status <> 'not_applicable' AND coalesce(qualifies, false) AS population,
        CASE WHEN status IN ('provisional', 'final') THEN met END AS observed
    FROM stated
)
SELECT patient_key, patient_id, site_id, drug, protocol, timepoint, endpoint, ordinal, status, observed,
    CASE WHEN NOT (due AND population) THEN NULL                        -- R4.7
         WHEN value IS NULL THEN false
         WHEN intercurrent_on <= value_on THEN false
         ELSE observed END AS nri,
    baseline_value, baseline_comparator, baseline_on, value, comparator, value_on, study_offset,
    window_start, window_end, due, population,
    CASE WHEN drug IS NULL THEN 'no_treatment'
         WHEN consent_withdrawn_on < window_start THEN 'consent_withdrawn'
         WHEN baseline_value IS NULL THEN 'no_baseline'
         WHEN qualifies IS NULL THEN 'baseline_unknown'
         WHEN NOT qualifies THEN baseline_reason
         WHEN status = 'missed' THEN 'missed'
         WHEN status IN ('provisional', 'final') AND met IS NULL THEN 'value_unknown'
    END AS reason,
    list_filter([baseline_record, value_record], lambda record: record IS NOT NULL) AS event_ids,
    observed_when_due
FROM counted
