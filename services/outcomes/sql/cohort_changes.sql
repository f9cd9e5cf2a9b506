-- One row per protocol, timepoint, parameter, drug and site (null = all): baseline, value and change, as of today.
-- Of patients whose window has closed with a value and no segment lost (R2.7): before it closes, those who came early
-- would lead. Of a censored result the bound stands in, and `censored` says so (R3.4). Quartiles are interpolated.
WITH pairs AS (
    SELECT protocols.protocol, w.timepoint, w.name AS parameter, t.drug, p.site_id,
        s.baseline_common::DOUBLE AS baseline, s.value_common::DOUBLE AS value,
        (s.value_common - s.baseline_common)::DOUBLE AS change,
        b.comparator IS NOT NULL OR s.comparator IS NOT NULL AS censored
    FROM selected AS s
    JOIN scheme_windows AS w USING (scheme, time, parameter)
    JOIN protocols ON protocols.scheme = s.scheme
    JOIN treated AS t ON t.scheme = s.scheme AND t.patient_key = s.patient_key
    JOIN patients AS p ON p.patient_key = s.patient_key
    JOIN (FROM selected WHERE time = 0) AS b
        ON b.scheme = s.scheme AND b.patient_key = s.patient_key AND b.parameter = s.parameter
    WHERE s.time > 0 AND (SELECT today FROM clock) >= t.first_dose_on + w.closes AND NOT s.segment_lost
)
SELECT protocol, timepoint, parameter, drug, site_id, count(*) AS n,
    quantile_cont(baseline, 0.25) AS baseline_q1, median(baseline) AS baseline_median,
    quantile_cont(baseline, 0.75) AS baseline_q3,
    quantile_cont(value, 0.25) AS value_q1, median(value) AS value_median, quantile_cont(value, 0.75) AS value_q3,
    quantile_cont(change, 0.25) AS change_q1, median(change) AS change_median,
    quantile_cont(change, 0.75) AS change_q3, bool_or(censored) AS censored
FROM pairs
GROUP BY GROUPING SETS ((protocol, timepoint, parameter, drug), (protocol, timepoint, parameter, drug, site_id))
