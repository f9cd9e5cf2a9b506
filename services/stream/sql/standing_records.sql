-- One row per record: its winning version, not retracted, dated up to today.
SELECT scope.* FROM scope LEFT JOIN winners USING (record_key)
WHERE (winning_version IS NULL
       OR (version = winning_version AND content = winning_content AND recorded_at = winning_at))
  AND NOT retracted AND on_date <= (SELECT today FROM clock)
