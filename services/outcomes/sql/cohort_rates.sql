-- One row per protocol, timepoint, endpoint, drug, site (null = all) and estimand, as of today.
SELECT protocol, timepoint, endpoint, drug, site_id, estimand, n, denominator, rate, ci_low, ci_high,
    exact.low AS ci_exact_low, exact.high AS ci_exact_high, pending, worst_case, best_case
FROM (SELECT *, exact_limits(n, denominator) AS exact FROM cohort_counts)
