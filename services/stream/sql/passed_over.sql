-- One row per version that does not count: another of its record wins, it retracts, or it is dated after today.
SELECT record_key, version, content, recorded_at
FROM scope LEFT JOIN winners USING (record_key)
WHERE NOT (version = winning_version AND content = winning_content AND recorded_at = winning_at)  -- R4.4
   OR retracted OR on_date > (SELECT today FROM clock)
