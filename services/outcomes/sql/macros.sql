-- Raised to a floor; null stays null, which greatest() would not do.
CREATE OR REPLACE MACRO at_least(floor, number) AS CASE WHEN number < floor THEN floor ELSE number END;

-- A number against a bound; of a censored one, only what holds for all it may stand for, else null (R3.4).
CREATE OR REPLACE MACRO below(value, comparator, bound) AS
    CASE WHEN comparator IS NULL THEN value < bound
         WHEN comparator = '<' THEN CASE WHEN value <= bound THEN true END
         WHEN comparator = '<=' THEN CASE WHEN value < bound THEN true END
         WHEN value >= bound THEN false END;
CREATE OR REPLACE MACRO at_most(value, comparator, bound) AS
    CASE WHEN comparator IS NULL THEN value <= bound
         WHEN comparator = '>' THEN CASE WHEN value >= bound THEN false END
         WHEN comparator = '>=' THEN CASE WHEN value > bound THEN false END
         WHEN value <= bound THEN true END;

CREATE OR REPLACE MACRO holds(value, comparator, operator, bound) AS
    CASE operator WHEN '<' THEN below(value, comparator, bound) WHEN '>=' THEN NOT below(value, comparator, bound)
                  WHEN '<=' THEN at_most(value, comparator, bound) ELSE NOT at_most(value, comparator, bound) END;

-- R3.1: is a result within its upper limit?
CREATE OR REPLACE MACRO is_normal(value, comparator, upper_limit, inclusive) AS
    CASE WHEN inclusive THEN at_most(value, comparator, upper_limit) ELSE below(value, comparator, upper_limit) END;

-- R4.2 as one number, the smallest of which is chosen: nearest to the target, later day, first of its day. A value
-- before the window (no distance) comes after all within. Offsets and ranks fit into 20 bits each.
CREATE OR REPLACE MACRO preferred(distance, study_offset, day_rank) AS
    coalesce(distance, 1048576) * 1099511627776 - study_offset * 1048576 + day_rank;

-- R2.7: the SES-CD of one endoscopy over the segments that the other one explored too.
CREATE OR REPLACE MACRO shared_segment(counted, other, i) AS
    CASE WHEN other[i] IS NULL THEN 0 ELSE coalesce(counted[i], 0) END;

CREATE OR REPLACE MACRO shared_score(counted, other) AS (
    shared_segment(counted, other, 1) + shared_segment(counted, other, 2) + shared_segment(counted, other, 3)
    + shared_segment(counted, other, 4) + shared_segment(counted, other, 5))::DECIMAL(18, 9);

-- R2.7: was a segment that scored at baseline not explored at follow-up?
CREATE OR REPLACE MACRO segment_lost(baseline, later) AS
    (coalesce(baseline[1], 0) > 0 AND later[1] IS NULL) OR (coalesce(baseline[2], 0) > 0 AND later[2] IS NULL)
    OR (coalesce(baseline[3], 0) > 0 AND later[3] IS NULL) OR (coalesce(baseline[4], 0) > 0 AND later[4] IS NULL)
    OR (coalesce(baseline[5], 0) > 0 AND later[5] IS NULL);

-- R3.1, R3.3: the laboratory's limit, else the one by age and sex, else the protocol's.
CREATE OR REPLACE MACRO upper_limit(laboratory, fixed, miller, ref_high, age_limit) AS
    CASE WHEN NOT laboratory THEN fixed WHEN ref_high IS NOT NULL THEN ref_high WHEN miller THEN age_limit ELSE fixed END;

-- A difference against its limit. Values have nine decimals; where a difference is exactly the limit, what rounding
-- took from both is the same, so nothing more is rounded here (R0.1; proof: tests/properties/test_exact_limits.py).
CREATE OR REPLACE MACRO reaches(amount, operator, bound) AS
    CASE operator WHEN '>' THEN amount > bound ELSE amount >= bound END;

-- R2.2, R2.7: per cent lower than at baseline. Nothing falls from 0: unknown, or a failure. From 4, points may decide.
-- A mean of six or seven days has no end, and per cent of it show what its ninth decimal lost: they are compared as if
-- rounded to six (without the cast, which is slow).
CREATE OR REPLACE MACRO reaches_per_cent(baseline, value, operator, per_cent) AS
    CASE operator WHEN '>' THEN 100 * (baseline - value) - per_cent * baseline >= 0.0000005
        ELSE 100 * (baseline - value) - per_cent * baseline >= -0.0000005 END;
CREATE OR REPLACE MACRO fell_per_cent(baseline, value, operator, per_cent, fall_from_4, rule, isolated_ileal, zero_fails) AS
    CASE WHEN baseline = 0 THEN CASE WHEN zero_fails AND value IS NOT NULL THEN false END
         WHEN baseline = 4 AND rule = 'any' THEN baseline - value >= fall_from_4
         WHEN baseline = 4 AND rule = 'isolated_ileal' AND isolated_ileal THEN baseline - value >= fall_from_4
         WHEN baseline = 4 AND rule = 'isolated_ileal' AND isolated_ileal IS NULL
            AND (baseline - value >= fall_from_4) <> reaches_per_cent(baseline, value, operator, per_cent) THEN NULL
         ELSE reaches_per_cent(baseline, value, operator, per_cent) END;

-- R0.2: a clause of bits against what holds and what fails. True where one holds, false where all fail, else unknown.
CREATE OR REPLACE MACRO told(clause, met, failed) AS
    CASE WHEN met & clause <> 0 THEN true WHEN failed & clause = clause THEN false END;

-- The texts of a list in their order, each once; no list is an empty one.
CREATE OR REPLACE MACRO each_once(texts) AS
    coalesce(list_filter(texts, lambda text, i: list_position(texts, text) = i), []);
