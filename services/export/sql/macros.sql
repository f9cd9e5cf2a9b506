-- What the data sets' definitions share.
CREATE TEMP MACRO flag(answer) AS CASE WHEN answer THEN 'Y' WHEN NOT answer THEN 'N' END;
-- R0.4: offset 0 is study day 1, the day before it is -1.
CREATE TEMP MACRO study_day_of(days) AS CASE WHEN days >= 0 THEN days + 1 ELSE days END;
CREATE TEMP MACRO study_day(on_day, first_dose_on) AS study_day_of((on_day - first_dose_on)::INTEGER);
CREATE TEMP MACRO usubjid(study, site, patient) AS study || '-' || site || '-' || patient;
CREATE TEMP MACRO term(in_list, of_word) AS
    (SELECT v.term FROM value_sets AS v WHERE v.list = in_list AND v.word = of_word);
CREATE TEMP MACRO code(in_list, of_word) AS
    (SELECT v.code FROM value_sets AS v WHERE v.list = in_list AND v.word = of_word);
CREATE TEMP MACRO spoken(name) AS upper(left(name, 1)) || replace(name[2:], '_', ' ');
CREATE TEMP MACRO digits(number) AS rtrim(rtrim(number::VARCHAR, '0'), '.');
