-- R6.7: Garwood's exact limits stand in `poisson_limits`; beyond its last row Wilson and Hilferty's
-- approximation of the chi-squared quantile is right to seven digits.
CREATE OR REPLACE MACRO poisson_low(events) AS
    events::DOUBLE * (1 - 1.0::DOUBLE / (9 * events) - 1.959963984540054::DOUBLE / (3 * sqrt(events))) ** 3;
CREATE OR REPLACE MACRO poisson_high(events) AS
    (events + 1.0::DOUBLE) * (1 - 1.0::DOUBLE / (9 * (events + 1)) + 1.959963984540054::DOUBLE / (3 * sqrt(events + 1.0::DOUBLE))) ** 3;
