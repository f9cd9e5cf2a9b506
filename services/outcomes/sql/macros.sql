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

-- A number against a limit; of a censored one, only what holds for all it may stand for (R3.4).
CREATE OR REPLACE MACRO holds(value, comparator, operator, bound) AS
    CASE WHEN comparator IS NULL THEN CASE operator
            WHEN '<' THEN value < bound WHEN '<=' THEN value <= bound WHEN '>' THEN value > bound ELSE value >= bound END
         WHEN comparator IN ('<', '<=') THEN CASE operator
            WHEN '<' THEN CASE WHEN value < bound OR (comparator = '<' AND value = bound) THEN true END
            WHEN '<=' THEN CASE WHEN value <= bound THEN true END
            WHEN '>' THEN CASE WHEN value <= bound THEN false END
            ELSE CASE WHEN value < bound OR (comparator = '<' AND value = bound) THEN false END END
         ELSE CASE operator
            WHEN '<' THEN CASE WHEN value >= bound THEN false END
            WHEN '<=' THEN CASE WHEN value > bound OR (comparator = '>' AND value = bound) THEN false END
            WHEN '>' THEN CASE WHEN value > bound OR (comparator = '>' AND value = bound) THEN true END
            ELSE CASE WHEN value >= bound THEN true END END
    END;

-- R3.1, R3.3: the laboratory's limit, else the one by age and sex, else the protocol's.
CREATE OR REPLACE MACRO upper_limit(laboratory, fixed, miller, ref_high, age_limit) AS
    CASE WHEN NOT laboratory THEN fixed WHEN ref_high IS NOT NULL THEN ref_high WHEN miller THEN age_limit ELSE fixed END;

-- Values are kept to nine decimals; a mean over six or seven days is not exact there. What such a mean lost must not
-- decide, so that differences are held against their limits to six decimals.
CREATE OR REPLACE MACRO reaches(amount, operator, bound) AS
    CASE operator WHEN '>' THEN amount::DECIMAL(18, 6) > bound ELSE amount::DECIMAL(18, 6) >= bound END;

-- R2.2, R2.7: per cent lower than at baseline. Nothing falls from 0: unknown, or a failure. From 4, points may decide.
CREATE OR REPLACE MACRO fell_per_cent(baseline, value, operator, per_cent, fall_from_4, rule, isolated_ileal, zero_fails) AS
    CASE WHEN baseline = 0 THEN CASE WHEN zero_fails AND value IS NOT NULL THEN false END
         WHEN baseline = 4 AND rule = 'any' THEN baseline - value >= fall_from_4
         WHEN baseline = 4 AND rule = 'isolated_ileal' AND isolated_ileal THEN baseline - value >= fall_from_4
         WHEN baseline = 4 AND rule = 'isolated_ileal' AND isolated_ileal IS NULL
            AND (baseline - value >= fall_from_4)
                <> reaches(100 * (baseline - value) - per_cent * baseline, operator, 0) THEN NULL
         ELSE reaches(100 * (baseline - value) - per_cent * baseline, operator, 0) END;

-- R2.7: with a lost segment an endpoint can only be known to have failed.
CREATE OR REPLACE MACRO only_failure(met) AS CASE WHEN NOT met THEN false END;

-- R0.2: clauses of bits against what holds and what fails. False: all of a clause failed. True: every clause has one
-- that holds. Anything else is unknown.
CREATE OR REPLACE MACRO decide(clauses, met, failed) AS
    CASE WHEN list_bool_or(list_transform(clauses, lambda clause: failed & clause = clause)) THEN false
         WHEN list_bool_and(list_transform(clauses, lambda clause: met & clause <> 0)) THEN true END;

-- R4.9: the first of several responses that is known.
CREATE OR REPLACE MACRO first_known(responses, met, failed) AS
    list_first(list_filter(list_transform(responses, lambda clauses: decide(clauses, met, failed)), lambda r: r IS NOT NULL));

-- The texts of a list in their order, each once; no list is an empty one.
CREATE OR REPLACE MACRO each_once(texts) AS
    coalesce(list_filter(texts, lambda text, i: list_position(texts, text) = i), []);
