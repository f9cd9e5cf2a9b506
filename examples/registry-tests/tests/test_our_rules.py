"""What our steering committee asked for, as patients that show it."""

from services.testing.cohort import Cohort
from services.testing.running import RunningServices


def test_remission_at_week_12_needs_a_cdai_below_150(
    week12_services: RunningServices, week12_cohort: Cohort
) -> None:
    below = week12_cohort.patient().treated().cdai(280, week=0).cdai(149, week=12)
    limit = week12_cohort.patient().treated().cdai(280, week=0).cdai(150, week=12)
    unseen = week12_cohort.patient().treated().cdai(280, week=0)
    week12_services.send(week12_cohort.events())
    week12_services.wait_until_settled()

    remission = {
        patient: week12_services.outcome(patient.patient_id, "clinical_remission")
        for patient in (below, limit, unseen)
    }
    assert remission[below]["observed"] is True
    assert remission[limit]["observed"] is False
    assert remission[unseen]["observed"] is None, "nobody looked: not known"
    assert remission[unseen]["nri"] is False, "missing counts as failure"


def test_a_correction_changes_the_outcome_and_a_retraction_takes_it_away(
    week12_services: RunningServices, week12_cohort: Cohort
) -> None:
    patient = week12_cohort.patient().treated().cdai(280, week=0).cdai(180, week=12)

    def observed() -> bool | None:
        week12_services.send(week12_cohort.events())  # all of it again: what is known already changes nothing
        week12_services.wait_until_settled()
        answer = week12_services.outcome(patient.patient_id, "clinical_remission")["observed"]
        return None if answer is None else bool(answer)

    assert observed() is False
    patient.corrected(cdai=120)
    assert observed() is True
    patient.retracted()
    assert observed() is None


def test_a_serious_event_alerts_within_one_settling(
    week12_services: RunningServices, week12_cohort: Cohort
) -> None:
    patient = week12_cohort.patient().treated()
    patient.adverse_event("Herpes zoster", 3, week=6, seriousness=["hospitalisation"])
    week12_services.send(week12_cohort.events())
    week12_services.wait_until_settled()
    assert "serious_event" in {alert["rule"] for alert in week12_services.alerts(patient.patient_id)}


def test_our_report_counts_what_we_sent(week12_services: RunningServices, week12_cohort: Cohort) -> None:
    for _ in range(3):
        week12_cohort.patient(site_id="S07").treated().crp(24, week=0).crp(3, week=12)
    week12_services.send(week12_cohort.events())
    week12_services.wait_until_settled()
    rows = week12_services.query(
        "SELECT n, denominator FROM cohort_rates WHERE endpoint = 'crp_normalisation' "
        "AND timepoint = 'week_12' AND estimand = 'observed' AND site_id = 'S07'"
    )
    assert rows == [{"n": 3, "denominator": 3}]
