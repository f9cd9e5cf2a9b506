-- One row per patient, protocol, timepoint and endpoint, as of today: the answer, the values it rests on, and why.
-- Of an endpoint over several parameters the values are the first one's, the day is the latest, the records are all.
WITH used AS (
    SELECT patient_key, scheme, time,
        list(struct_pack(parameter, value, comparator, on_date, study_offset, record) ORDER BY parameter) AS chosen
    FROM selected GROUP BY patient_key, scheme, time
),
shown AS (
    SELECT e.*,
        list_filter(b.chosen, lambda c: e.parameters & (1::BIGINT << c.parameter) <> 0) AS baselines,
        list_filter(v.chosen, lambda c: e.parameters & (1::BIGINT << c.parameter) <> 0) AS found
    FROM endpoint_states AS e
    LEFT JOIN used AS v ON v.scheme = e.scheme AND v.patient_key = e.patient_key AND v.time = e.time
    LEFT JOIN (FROM used WHERE time = 0) AS b ON b.scheme = e.scheme AND b.patient_key = e.patient_key
),
led AS (
    SELECT *, list_first(list_filter(baselines, lambda c: c.parameter = lead)) AS baseline,
        list_first(list_filter(found, lambda c: c.parameter = lead)) AS latest
    FROM shown
)
SELECT patient_id, site_id, drug, protocol, timepoint, endpoint, status, observed, nri, locf,
    baseline.value AS baseline_value, baseline.on_date AS baseline_on, latest.value AS value,
    list_max(list_transform(found, lambda c: c.on_date)) AS value_on,
    list_max(list_transform(found, lambda c: c.study_offset))::INTEGER AS study_offset,
    window_start, window_end, reason,
    each_once(list_concat(
        list_transform(baselines, lambda c: c.record), list_transform(found, lambda c: c.record))) AS event_ids,
    protocol_version, population, baseline.comparator AS baseline_comparator, latest.comparator AS comparator
FROM led JOIN protocols USING (protocol)
