-- What the data sets need to know of the protocol that is asked for: the one place that reads how stores keep it.
CREATE TEMP VIEW index_treatments AS
    FROM treated JOIN protocols USING (scheme) WHERE protocol = (SELECT protocol FROM asked);
CREATE TEMP VIEW visit_windows AS
    SELECT timepoint, parameter, target, opens, closes FROM protocol_windows WHERE protocol = (SELECT protocol FROM asked);
-- R4.8: endpoints whose observed value counts only once its window has closed
CREATE TEMP VIEW endpoints_when_due AS
    SELECT endpoint FROM protocol_endpoints WHERE protocol = (SELECT protocol FROM asked) AND observed_when_due;
