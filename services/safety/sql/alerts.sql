-- One row per alert: what raised it, and what people did about it.
WITH done AS (
    SELECT alert_id, bool_or(action = 'close') AS closed,
        min(row(acted_at, actor)) FILTER (action IN ('acknowledge', 'close')) AS first_seen,
        max(row(acted_at, note)) AS last_note
    FROM alert_actions GROUP BY alert_id
)
SELECT r.alert_id, r.rule, r.severity, r.patient_id, r.site_id, r.drug, r.title, r.evidence, r.raised_at,
    r.event_recorded_at,
    CASE WHEN r.withdrawn THEN 'withdrawn' WHEN d.closed THEN 'closed'
         WHEN d.first_seen IS NOT NULL THEN 'acknowledged' ELSE 'open' END AS state,
    d.first_seen[2] AS acknowledged_by, d.first_seen[1] AS acknowledged_at, d.last_note[2] AS note,
    r.event_id, r.on_date
FROM alerts_raised AS r LEFT JOIN done AS d USING (alert_id)
