-- One row per protocol, timepoint, endpoint and state of one patient: from when it was known, until when, and which
-- versions, recorded at that moment, made it so. Clinical time stands still at `as_of`. No status: no record was left.
WITH versions AS (  -- of copies of one version the earliest counts
    SELECT event_type, site_id, event_id, version, retracted, min(recorded_at) AS moment
    FROM events WHERE patient_key = md5_number_lower(patient)
    GROUP BY event_type, site_id, event_id, version, content, retracted
),
moments AS (
    SELECT moment, list(struct_pack(event_type, site_id, event_id, version, retracted)
        ORDER BY event_type, site_id, event_id, version) AS caused_by
    FROM versions GROUP BY moment
),
states AS (  -- a patient of `known` is one moment of this one
    SELECT protocol, timepoint, endpoint, patient_id AS moment, struct_pack(
        site_id, drug, status, observed, nri, locf, baseline_value, baseline_comparator, baseline_on, value, comparator,
        value_on, study_offset, window_start, window_end, reason, event_ids) AS state
    FROM known
),
places AS (SELECT DISTINCT protocol, timepoint, endpoint FROM states),
changes AS (
    SELECT p.*, m.moment, m.caused_by, s.state
    FROM places AS p CROSS JOIN moments AS m
    LEFT JOIN states AS s ON s.protocol = p.protocol AND s.timepoint = p.timepoint AND s.endpoint = p.endpoint
        AND s.moment = m.moment::VARCHAR
    QUALIFY s.state IS DISTINCT FROM lag(s.state) OVER (
        PARTITION BY p.protocol, p.timepoint, p.endpoint ORDER BY m.moment)
)
SELECT patient AS patient_id, protocol, timepoint, endpoint, moment AS known_from,
    lead(moment) OVER (PARTITION BY protocol, timepoint, endpoint ORDER BY moment) AS known_until,
    state.site_id, state.drug, state.status, state.observed, state.nri, state.locf, state.baseline_value,
    state.baseline_comparator, state.baseline_on, state.value, state.comparator, state.value_on, state.study_offset,
    state.window_start, state.window_end, state.reason, state.event_ids, caused_by
FROM changes
