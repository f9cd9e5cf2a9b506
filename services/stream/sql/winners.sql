-- One row per record of which several versions or copies arrived: the one that counts (R4.4).
SELECT record_key, -winner.behind AS winning_version, winner.content AS winning_content, winner.recorded_at AS winning_at
FROM (  -- the highest version; in a conflict the smallest content hash; of copies the earliest
    SELECT record_key, min(struct_pack(behind := -version, content, recorded_at)) AS winner
    FROM scope
    WHERE record_key IN (SELECT record_key FROM scope GROUP BY record_key HAVING count(*) > 1)
    GROUP BY record_key
)
