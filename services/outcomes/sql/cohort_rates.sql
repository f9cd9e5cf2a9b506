-- One row per protocol, timepoint, endpoint, drug, site (null = all) and estimand, as of today.
WITH counts AS (
    SELECT protocol, timepoint, endpoint, drug, site_id, any_value(ordinal) AS ordinal,
        count(*) FILTER (population AND NOT due) AS pending,
        -- R4.8: clinical endpoints count once due; the others as soon as their value is there
        count(*) FILTER (population AND observed AND (due OR NOT observed_when_due)) AS observed_n,
        count(*) FILTER (population AND observed IS NOT NULL AND (due OR NOT observed_when_due)) AS observed_denominator,
        count(*) FILTER (nri) AS nri_n,
        count(*) FILTER (nri IS NOT NULL) AS nri_denominator
    FROM endpoint_states WHERE drug IS NOT NULL
    GROUP BY GROUPING SETS ((protocol, timepoint, endpoint, drug), (protocol, timepoint, endpoint, drug, site_id))
),
rates AS (
    SELECT protocol, timepoint, endpoint, drug, site_id, ordinal, pending, 'observed' AS estimand,
        observed_n AS n, observed_denominator AS denominator FROM counts
    UNION ALL
    SELECT protocol, timepoint, endpoint, drug, site_id, ordinal, pending, 'nri', nri_n, nri_denominator FROM counts
)
SELECT protocol, timepoint, endpoint, drug, site_id, estimand, n, denominator,
    CASE WHEN denominator > 0 THEN n::DOUBLE / denominator END AS rate,
    wilson_low(n, denominator) AS ci_low, wilson_high(n, denominator) AS ci_high,
    NULL::DOUBLE AS ci_exact_low, NULL::DOUBLE AS ci_exact_high, pending
FROM rates
