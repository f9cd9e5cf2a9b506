-- One row per record: its winning version, not retracted, dated up to today (an erasure holds for every day).
WITH contested AS (  -- records of which more than one version or copy arrived: few, so only they are ranked
    SELECT record_key FROM scope GROUP BY record_key HAVING count(*) > 1
),
winners AS (  -- R4.4: the highest version; in a conflict the smallest content hash; of copies the earliest
    SELECT record_key, min(row(-version, content, recorded_at)) AS winner
    FROM scope SEMI JOIN contested USING (record_key)
    GROUP BY record_key
)
SELECT scope.* FROM scope LEFT JOIN winners USING (record_key)
WHERE (winner IS NULL OR row(-version, content, recorded_at) = winner)
  AND NOT retracted AND (on_date <= (SELECT today FROM clock) OR consent_status = 'erase')
