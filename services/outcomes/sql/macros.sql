-- Raised to a floor; null stays null, which greatest() would not do.
CREATE OR REPLACE MACRO at_least(floor, number) AS CASE WHEN number < floor THEN floor ELSE number END;

-- R3.4: is a result within its upper limit? True, false, or null when a censored result cannot tell.
CREATE OR REPLACE MACRO is_normal(value, comparator, upper_limit, inclusive) AS
    CASE WHEN comparator IS NULL THEN value < upper_limit OR (inclusive AND value = upper_limit)
         WHEN comparator = '<' THEN CASE WHEN value <= upper_limit THEN true END
         WHEN comparator = '<=' THEN CASE WHEN value < upper_limit OR (inclusive AND value = upper_limit) THEN true END
         WHEN comparator = '>' THEN CASE WHEN value >= upper_limit THEN false END
         WHEN comparator = '>=' THEN CASE WHEN value > upper_limit OR (NOT inclusive AND value = upper_limit) THEN false END
    END;

-- R2.7: the SES-CD of one endoscopy over the segments that the other one explored too.
CREATE OR REPLACE MACRO shared_score(counted, other) AS
    list_sum(list_transform(counted, lambda score, i: CASE WHEN other[i] IS NULL THEN 0 ELSE coalesce(score, 0) END)
    )::DECIMAL(18, 9);

-- R2.7: was a segment that scored at baseline not explored at follow-up?
CREATE OR REPLACE MACRO segment_lost(baseline, later) AS
    list_bool_or(list_transform(baseline, lambda score, i: coalesce(score, 0) > 0 AND later[i] IS NULL));

-- R2.7 endoscopic response: more than `per_cent` off, or `baseline4_fall` points where baseline is 4.
CREATE OR REPLACE MACRO fell_per_cent(baseline, value, per_cent, baseline4_fall) AS
    CASE WHEN baseline = 0 THEN NULL
         WHEN baseline = 4 AND baseline4_fall IS NOT NULL THEN baseline - value >= baseline4_fall
         ELSE 100 * value < (100 - per_cent) * baseline END;

-- R2.7: with a lost segment an endpoint can only be known to have failed.
CREATE OR REPLACE MACRO only_failure(met) AS CASE WHEN NOT met THEN false END;
