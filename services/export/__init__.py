"""Analysis data sets for statisticians: the stores as ADSL, ADRS, ADLB and ADAE, in files that others read."""
