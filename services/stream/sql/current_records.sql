-- One row per record that counts: standing, and not dated after a withdrawn consent.
SELECT standing_records.* FROM standing_records LEFT JOIN consents USING (patient_key)
WHERE withdrawn_on IS NULL OR on_date <= withdrawn_on
