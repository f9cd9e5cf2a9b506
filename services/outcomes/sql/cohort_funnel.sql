-- One row per centre and pooled rate that it is part of: the centre's rate beside control limits around the pooled one.
-- `flag`: outside the 95 % limits is for watching, outside the 99.8 % limits for review. `dispersion`: the mean square
-- of the centres' distances from the target, in standard errors, the outermost tenths drawn in; null for fewer than 10
-- centres. Well above 1, centres differ by more than chance throughout, and flags mean less.
WITH beside AS (
    SELECT protocol, timepoint, endpoint, drug, estimand, site_id, n, denominator, rate,
        max(n::DOUBLE / denominator) FILTER (site_id IS NULL)
            OVER (PARTITION BY protocol, timepoint, endpoint, drug, estimand) AS target
    FROM cohort_rates WHERE denominator > 0
),
distances AS (
    SELECT *, CASE WHEN target > 0 AND target < 1
        THEN (rate - target) / sqrt(target * (1 - target) / denominator) END AS z
    FROM beside WHERE site_id IS NOT NULL
),
ends AS (
    SELECT *, count(z) OVER centres AS centres,
        quantile_cont(z, 0.1) OVER centres AS first_tenth, quantile_cont(z, 0.9) OVER centres AS last_tenth
    FROM distances WINDOW centres AS (PARTITION BY protocol, timepoint, endpoint, drug, estimand)
),
limited AS (
    SELECT *, funnel_limits(denominator, target) AS limits, CASE WHEN centres >= 10 THEN
        list_avg(list_sort(list(greatest(first_tenth, least(last_tenth, z)) ** 2)
            OVER (PARTITION BY protocol, timepoint, endpoint, drug, estimand))) END AS dispersion
    FROM ends
)
SELECT protocol, timepoint, endpoint, drug, estimand, site_id, n, denominator, rate, target,
    limits.low_95, limits.high_95, limits.low_998, limits.high_998,
    CASE WHEN rate < limits.low_998 OR rate > limits.high_998 THEN 'review'
         WHEN rate < limits.low_95 OR rate > limits.high_95 THEN 'watch' END AS flag,
    dispersion
FROM limited
