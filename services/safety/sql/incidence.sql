-- One row per drug, site (null = all) and event group: patients, treatment-emergent events, rates per 100 person-years.
WITH counted AS (  -- the events of a drug: those during it or within 30 days after (R6.6)
    SELECT a.patient_key, x.drug, x.site_id, x.first_dose_on, a.onset_on, a.serious, a.grade, lower(a.term) AS term
    FROM adverse_events AS a JOIN exposures AS x ON x.patient_key = a.patient_key AND x.drug = a.drug
    WHERE a.at_risk
),
grouped AS (
    SELECT *, unnest(list_filter(
        ['any', CASE WHEN serious THEN 'serious' END, CASE WHEN grade >= 3 THEN 'grade_3_plus' END, term],
        lambda name: name IS NOT NULL)) AS event_group
    FROM counted
),
people AS (  -- person-time stops at a patient's first event for first_events_per_100py
    SELECT drug, site_id, event_group, patient_key, count(*) AS events,
        greatest(0, min(onset_on) - min(first_dose_on)) + 1 AS days_to_first
    FROM grouped GROUP BY ALL
),
treated AS (  -- R6.6: up to today at most, both ends included
    SELECT drug, site_id, patient_key,
        greatest(0, least(risk_ends_on, (SELECT today FROM clock)) - first_dose_on + 1)::INTEGER AS person_days
    FROM exposures
),
totals AS (
    SELECT drug, site_id, count(*) AS patients, sum(person_days) AS person_days
    FROM treated GROUP BY GROUPING SETS ((drug), (drug, site_id))
),
groups AS (
    SELECT drug, site_id, event_group FROM totals CROSS JOIN (SELECT unnest(['any', 'serious', 'grade_3_plus']) AS event_group)
    UNION
    SELECT drug, site_id, event_group FROM people GROUP BY GROUPING SETS ((drug, event_group), (drug, site_id, event_group))
),
events AS (
    SELECT p.drug, p.site_id, p.event_group, count(*) AS patients_with_event, sum(p.events) AS events,
        sum(t.person_days - least(p.days_to_first, t.person_days)) AS days_after_first
    FROM people AS p JOIN treated AS t ON t.drug = p.drug AND t.patient_key = p.patient_key
    GROUP BY GROUPING SETS ((p.drug, p.event_group), (p.drug, p.site_id, p.event_group))
),
counts AS (
    SELECT g.drug, g.site_id, g.event_group, t.patients,
        coalesce(e.patients_with_event, 0)::BIGINT AS patients_with_event, coalesce(e.events, 0)::BIGINT AS events,
        t.person_days::DOUBLE / 365.25 AS person_years,
        (t.person_days - coalesce(e.days_after_first, 0))::DOUBLE / 365.25 AS years_to_first
    FROM groups AS g
    JOIN totals AS t ON t.drug = g.drug AND t.site_id IS NOT DISTINCT FROM g.site_id
    LEFT JOIN events AS e ON e.drug = g.drug AND e.site_id IS NOT DISTINCT FROM g.site_id AND e.event_group = g.event_group
)
SELECT drug, site_id, event_group, patients, patients_with_event, events, person_years,
    100.0::DOUBLE * patients_with_event / patients AS incidence_pct,
    100.0::DOUBLE * events / nullif(person_years, 0) AS events_per_100py,
    100.0::DOUBLE * patients_with_event / nullif(years_to_first, 0) AS first_events_per_100py,
    100.0::DOUBLE * coalesce(l.low, poisson_low(events)) / nullif(person_years, 0) AS ci_low,
    100.0::DOUBLE * coalesce(l.high, poisson_high(events)) / nullif(person_years, 0) AS ci_high
FROM counts LEFT JOIN poisson_limits AS l USING (events)
