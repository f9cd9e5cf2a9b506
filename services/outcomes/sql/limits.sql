-- Wilson score limits (R7.3), 0..1; null without a denominator; exactly 0 and 1 at the ends.
CREATE OR REPLACE MACRO wilson_low(n, denominator) AS
    CASE WHEN denominator = 0 THEN NULL WHEN n = 0 THEN 0.0::DOUBLE ELSE
        (n::DOUBLE / denominator + 1.959963984540054::DOUBLE ** 2 / (2 * denominator)
         - 1.959963984540054::DOUBLE * sqrt(n::DOUBLE / denominator * (1 - n::DOUBLE / denominator) / denominator
             + 1.959963984540054::DOUBLE ** 2 / (4 * denominator::DOUBLE ** 2)))
        / (1 + 1.959963984540054::DOUBLE ** 2 / denominator) END;
CREATE OR REPLACE MACRO wilson_high(n, denominator) AS
    CASE WHEN denominator = 0 THEN NULL WHEN n = denominator THEN 1.0::DOUBLE ELSE
        (n::DOUBLE / denominator + 1.959963984540054::DOUBLE ** 2 / (2 * denominator)
         + 1.959963984540054::DOUBLE * sqrt(n::DOUBLE / denominator * (1 - n::DOUBLE / denominator) / denominator
             + 1.959963984540054::DOUBLE ** 2 / (4 * denominator::DOUBLE ** 2)))
        / (1 + 1.959963984540054::DOUBLE ** 2 / denominator) END;

-- The points and weights of Gauss and Legendre's rule of 16 points on 0..1.
CREATE OR REPLACE MACRO gauss_legendre() AS [
    {'at': 5.2995325041750307e-03, 'weight': 1.3576229705877088e-02},
    {'at': 2.7712488463383700e-02, 'weight': 3.1126761969323728e-02},
    {'at': 6.7184398806084122e-02, 'weight': 4.7579255841246303e-02},
    {'at': 1.2229779582249850e-01, 'weight': 6.2314485627767036e-02},
    {'at': 1.9106187779867811e-01, 'weight': 7.4797994408288354e-02},
    {'at': 2.7099161117138632e-01, 'weight': 8.4578259697501323e-02},
    {'at': 3.5919822461037054e-01, 'weight': 9.1301707522461820e-02},
    {'at': 4.5249374508118129e-01, 'weight': 9.4725305227534320e-02},
    {'at': 5.4750625491881877e-01, 'weight': 9.4725305227534320e-02},
    {'at': 6.4080177538962946e-01, 'weight': 9.1301707522461820e-02},
    {'at': 7.2900838882861363e-01, 'weight': 8.4578259697501323e-02},
    {'at': 8.0893812220132189e-01, 'weight': 7.4797994408288354e-02},
    {'at': 8.7770220417750155e-01, 'weight': 6.2314485627767036e-02},
    {'at': 9.3281560119391593e-01, 'weight': 4.7579255841246303e-02},
    {'at': 9.7228751153661630e-01, 'weight': 3.1126761969323728e-02},
    {'at': 9.9470046749582497e-01, 'weight': 1.3576229705877088e-02}
];

-- Of Beta(a, b), a and b at least 1: the slope and value of the log density at x.
CREATE OR REPLACE MACRO beta_slope(x, a, b) AS (a - 1) / x - (b - 1) / (1 - x);
CREATE OR REPLACE MACRO beta_log_density(x, a, b) AS
    (a - 1) * ln(x) + (b - 1) * ln(1 - x) + lgamma(a + b) - lgamma(a) - lgamma(b);

-- How far below x the density falls to e^-25 of what it is at x, or to 0: what lies beyond does not count. A bound,
-- from the slope at x and the least curvature below it.
CREATE OR REPLACE MACRO beta_reach(x, a, b) AS least(x, 50 / (
    beta_slope(x, a, b) + sqrt(beta_slope(x, a, b) ** 2 + 50 * ((a - 1) / (x * x) + (b - 1)))));

-- The probability below x over the density at x, for x below the mode or little above it.
CREATE OR REPLACE MACRO beta_tail(x, a, b) AS
    list_transform([beta_reach(x, a, b)], lambda reach:
        reach * list_sum(list_transform(gauss_legendre(), lambda point: point.weight * exp(
            (a - 1) * ln(1 - point.at * reach / x) + (b - 1) * ln(1 + point.at * reach / (1 - x))))))[1];

-- The 2.5 % point of Beta(a, b), roughly: Abramowitz and Stegun 26.5.22.
CREATE OR REPLACE MACRO early_quantile(a, b) AS a / (a + b * exp(2 * (
    1.959963984540054::DOUBLE * sqrt(2 / (1 / (2 * a - 1) + 1 / (2 * b - 1)) + 0.14024313678235398::DOUBLE)
        * (1 / (2 * a - 1) + 1 / (2 * b - 1)) / 2
    - (1 / (2 * b - 1) - 1 / (2 * a - 1))
        * (0.14024313678235398::DOUBLE + 5::DOUBLE / 6 - (1 / (2 * a - 1) + 1 / (2 * b - 1)) / 3))));

-- The same, closer: a step of Halley's method for the log of the probability below it.
CREATE OR REPLACE MACRO closer_quantile(early, a, b) AS
    list_transform([early], lambda x:
        list_transform([beta_tail(x, a, b)], lambda tail:
            list_transform([tail * (ln(tail / 0.025::DOUBLE) + beta_log_density(x, a, b))], lambda newton:
                x - newton / (1 - newton * (beta_slope(x, a, b) - 1 / tail) / 2)
            )[1])[1])[1];

-- Clopper-Pearson limits (R7.3), 0..1, as a struct; null without a denominator. The lower one is the 2.5 % point of
-- Beta(n, denominator - n + 1): a root for one success or nothing but successes, else two steps give ten digits. The
-- upper one is the lower one of the failures, mirrored.
CREATE OR REPLACE MACRO exact_low(n, denominator) AS
    CASE WHEN n = 0 THEN 0.0::DOUBLE
         WHEN n = denominator THEN 0.025::DOUBLE ** (1::DOUBLE / denominator)
         WHEN n = 1 THEN 1 - 0.975::DOUBLE ** (1::DOUBLE / denominator)
         ELSE list_reduce([1.0::DOUBLE, 2.0], lambda x, step:
             closer_quantile(x, n::DOUBLE, (denominator - n + 1)::DOUBLE),
             early_quantile(n::DOUBLE, (denominator - n + 1)::DOUBLE)) END;
CREATE OR REPLACE MACRO exact_limits(n, denominator) AS CASE WHEN denominator > 0 THEN
    list_transform([list_transform([n, denominator - n], lambda k: exact_low(k, denominator))],
        lambda lows: {'low': lows[1], 'high': 1 - lows[2]})[1] END;

-- P(X <= k) for X binomial of n and p, where that is no more than about a half: P(Beta(n - k, k + 1) < 1 - p).
CREATE OR REPLACE MACRO binomial_below(k, n, p) AS
    CASE WHEN k < 0 THEN 0.0::DOUBLE WHEN k >= n THEN 1.0::DOUBLE
         ELSE beta_tail(1 - p, (n - k)::DOUBLE, (k + 1)::DOUBLE)
              * exp(beta_log_density(1 - p, (n - k)::DOUBLE, (k + 1)::DOUBLE)) END;

-- The count below which fewer than `tail` of centres with n patients and true share p fall, straight between whole
-- counts, so that a limit does not jump with n (Spiegelhalter 2005). `z`: the normal distribution's point for `tail`;
-- its binomial point by Cornish and Fisher is less than 3 off.
CREATE OR REPLACE MACRO control_count(n, p, tail, z) AS
    list_transform([floor(n * p - z * sqrt(n * p * (1 - p)) + (z * z - 1) * (1 - 2 * p) / 6)::BIGINT], lambda guess:
        list_transform([list_transform(range(guess - 4, guess + 4), lambda k: binomial_below(k, n, p))], lambda below:
            list_transform([len(list_filter(below, lambda share: share < tail))], lambda i:
                guess - 4 + i - (below[i + 1] - tail) / (below[i + 1] - below[i]))[1])[1])[1];

-- Control limits of a funnel plot around the share `target`, 0..1, as a struct. The upper ones are the lower ones of
-- the failures, mirrored, so that it does not matter which of the two is counted.
CREATE OR REPLACE MACRO funnel_limits(n, target) AS CASE
    WHEN n > 0 AND target IN (0, 1) THEN
        {'low_95': target, 'high_95': target, 'low_998': target, 'high_998': target}
    WHEN n > 0 THEN list_transform([list_transform([
            {'p': target, 'tail': 0.025::DOUBLE, 'z': 1.959963984540054::DOUBLE},
            {'p': 1 - target, 'tail': 0.025::DOUBLE, 'z': 1.959963984540054::DOUBLE},
            {'p': target, 'tail': 0.001::DOUBLE, 'z': 3.090232306167813::DOUBLE},
            {'p': 1 - target, 'tail': 0.001::DOUBLE, 'z': 3.090232306167813::DOUBLE}
        ], lambda side: at_least(0, control_count(n, side.p, side.tail, side.z) / n))],
        lambda low: {'low_95': low[1], 'high_95': 1 - low[2], 'low_998': low[3], 'high_998': 1 - low[4]})[1] END;
