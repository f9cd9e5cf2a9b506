-- One row per protocol, timepoint, endpoint, drug, site (null = all) and estimand: counts, and the rate but for its exact
-- limits, which cost more than all the rest; as of today.
WITH by_site AS (
    SELECT protocol, timepoint, endpoint, drug, site_id,
        count(*) FILTER (population AND NOT due) AS pending,
        count(*) FILTER (population AND due AND observed) AS settled_n,
        count(*) FILTER (population AND due AND observed IS NOT NULL) AS settled_denominator,
        -- R4.8: clinical endpoints count once due; the others as soon as their value is there
        count(*) FILTER (population AND observed AND (due OR NOT observed_when_due)) AS observed_n,
        count(*) FILTER (population AND observed IS NOT NULL AND (due OR NOT observed_when_due)) AS observed_denominator,
        count(*) FILTER (nri) AS nri_n,
        count(*) FILTER (nri IS NOT NULL) AS nri_denominator,
        count(*) FILTER (locf) AS locf_n,
        count(*) FILTER (locf IS NOT NULL) AS locf_denominator
    FROM endpoint_states WHERE drug IS NOT NULL
    GROUP BY protocol, timepoint, endpoint, drug, site_id
),
counts AS (
    SELECT protocol, timepoint, endpoint, drug, site_id,
        sum(COLUMNS(* EXCLUDE (protocol, timepoint, endpoint, drug, site_id)))::BIGINT
    FROM by_site
    GROUP BY GROUPING SETS ((protocol, timepoint, endpoint, drug), (protocol, timepoint, endpoint, drug, site_id))
),
rates AS (
    SELECT protocol, timepoint, endpoint, drug, site_id, 'observed' AS estimand, pending,
        observed_n AS n, observed_denominator AS denominator, settled_n, settled_denominator FROM counts
    UNION ALL
    SELECT protocol, timepoint, endpoint, drug, site_id, 'nri', pending,
        nri_n, nri_denominator, nri_n, nri_denominator FROM counts
    UNION ALL
    SELECT protocol, timepoint, endpoint, drug, site_id, 'locf', pending,
        locf_n, locf_denominator, locf_n, locf_denominator FROM counts
)
SELECT protocol, timepoint, endpoint, drug, site_id, estimand, n, denominator,
    CASE WHEN denominator > 0 THEN n::DOUBLE / denominator END AS rate,
    wilson_low(n, denominator) AS ci_low, wilson_high(n, denominator) AS ci_high, pending,
    -- Where the rate can still go: every patient who is not yet due fails, or succeeds.
    CASE WHEN settled_denominator + pending > 0
        THEN settled_n::DOUBLE / (settled_denominator + pending) END AS worst_case,
    CASE WHEN settled_denominator + pending > 0
        THEN (settled_n + pending)::DOUBLE / (settled_denominator + pending) END AS best_case
FROM rates SEMI JOIN protocol_estimands USING (protocol, estimand)
