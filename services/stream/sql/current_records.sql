-- One row per record that counts: a version that is not passed over, nor dated after a withdrawn consent.
FROM scope
ANTI JOIN (
    FROM passed_over
    UNION ALL
    SELECT record_key, version, content, recorded_at FROM scope JOIN withdrawals USING (patient_key)
    WHERE on_date > withdrawn_on
) USING (record_key, version, content, recorded_at)
