-- One row per protocol, timepoint, parameter, drug and site (null = all): baseline, value and change, as of today.
-- Of patients whose window has closed with a value, none of the two censored and no segment lost (R2.7): before it
-- closes, those who came early would lead. Quartiles are interpolated linearly.
WITH pairs AS (
    SELECT s.protocol, s.timepoint, s.parameter, t.drug, p.site_id,
        baseline_common::DOUBLE AS baseline, value_common::DOUBLE AS value,
        (value_common - baseline_common)::DOUBLE AS change
    FROM selected AS s
    JOIN treated AS t ON t.protocol = s.protocol AND t.patient_key = s.patient_key
    JOIN patients AS p ON p.patient_key = s.patient_key
    WHERE (SELECT today FROM clock) >= window_end AND NOT segment_lost
      AND baseline_common IS NOT NULL AND value_common IS NOT NULL
      AND baseline_comparator IS NULL AND comparator IS NULL
)
SELECT protocol, timepoint, parameter, drug, site_id, count(*) AS n,
    quantile_cont(baseline, 0.25) AS baseline_q1, median(baseline) AS baseline_median,
    quantile_cont(baseline, 0.75) AS baseline_q3,
    quantile_cont(value, 0.25) AS value_q1, median(value) AS value_median, quantile_cont(value, 0.75) AS value_q3,
    quantile_cont(change, 0.25) AS change_q1, median(change) AS change_median,
    quantile_cont(change, 0.75) AS change_q3
FROM pairs
GROUP BY GROUPING SETS ((protocol, timepoint, parameter, drug), (protocol, timepoint, parameter, drug, site_id))
