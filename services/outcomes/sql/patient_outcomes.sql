-- One row per patient, protocol, timepoint and endpoint, as of today.
SELECT patient_id, site_id, drug, protocol, timepoint, endpoint, status, observed, nri, NULL::BOOLEAN AS locf,
    baseline_value, baseline_on, value, value_on, study_offset, window_start, window_end, reason, event_ids,
    protocol_version, population, baseline_comparator, comparator
FROM endpoint_states JOIN protocols USING (protocol)
