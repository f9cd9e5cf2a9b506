-- All about one patient in one row, so that everything is of one commit.
SELECT
    (SELECT list(p) FROM patients AS p) AS patients,
    (SELECT list(o) FROM patient_outcomes AS o) AS outcomes,
    (SELECT list(w) FROM values_weighed AS w) AS weighed,
    (SELECT list(c) FROM criteria_met AS c) AS criteria,
    (SELECT list(t) FROM treated AS t) AS treated,
    (SELECT list(i) FROM intercurrent_events AS i) AS intercurrent_events,
    (SELECT list(s) FROM steroid_records AS s) AS steroids,
    (SELECT list(u) FROM (
        SELECT event_type, site_id || '/' || event_id AS record, version, winning_version, on_date, why
        FROM uncounted_records) AS u) AS uncounted,
    (SELECT list(s) FROM schedule AS s) AS schedule,
    (SELECT list(c) FROM scheme_clauses AS c) AS clauses,
    (SELECT list(p) FROM protocols AS p) AS protocols,
    (SELECT list(p) FROM parameters AS p) AS parameters,
    (SELECT list(w) FROM scheme_windows AS w) AS windows
