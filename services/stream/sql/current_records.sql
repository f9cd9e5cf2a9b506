-- One row per record that counts: standing, of a patient not erased, and not dated after a withdrawn consent.
SELECT standing_records.* FROM standing_records LEFT JOIN consents USING (patient_key)
WHERE coalesce(NOT erased AND (withdrawn_on IS NULL OR on_date <= withdrawn_on), true)
