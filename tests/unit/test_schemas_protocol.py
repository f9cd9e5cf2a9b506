"""Protocol files: what they may say, what one says by extending another, and where a mistake is said to be."""

from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from stores import OUTCOMES, load, open_store, rows
from twin.builders import enrolment, lab, start, visit
from twin.criteria import ENDPOINTS
from twin.protocols import FU2025, STRIDE2, TRIAL_7, U_EXCEED, WIDE_28, Rules

from schemas.protocol import ProtocolError, load_protocol, shipped_protocols
from schemas.protocol_words import differences, in_words
from services.cli import main
from services.outcomes.plan import make_plan

OURS = """
extends = ["fu2025"]
title = "As fu2025, with an albumin target and a visit at week 6"

[timepoint.week_6]
target = 42
clinical = [36, 48]
[parameter.albumin]
window = "clinical"
[criterion.albumin_rose]
kind = "fall"
parameter = "albumin"
at_least = -5
[endpoint.albumin_35]
kind = "threshold"
parameter = "albumin"
at_least = 35
population = "active"
rule = "local"
[endpoint.well_fed_remission]
kind = "composite"
all_of = ["clinical_remission", "albumin_35"]
population = "active"
rule = "local"
[endpoint.cr150]
kind = "fall"
parameter = "cdai"
at_least = 150
population = "active"
rule = "local"
[endpoint.cdai_halved]
kind = "per_cent_fall"
parameter = "cdai"
at_least = 50
population = "active"
rule = "local"
[parameter.lymphocytes]
window = "clinical"
upper_limit = 4
[criterion.raised_lymphocytes]
kind = "raised"
parameter = "lymphocytes"
[population.raised_lymphocytes]
all_of = ["raised_lymphocytes"]
reason = "baseline_normal"
[endpoint.lymphocyte_normalisation]
kind = "normalisation"
parameter = "lymphocytes"
population = "raised_lymphocytes"
rule = "local"
"""


def written(folder: Path, text: str, name: str = "ours") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("rules", [FU2025, U_EXCEED, STRIDE2, TRIAL_7, WIDE_28], ids=lambda rules: rules.name)
def test_shipped_protocols_say_what_the_rules_say(rules: Rules) -> None:
    protocol = load_protocol(rules.name)
    assert protocol.headline == rules.headline
    assert set(protocol.endpoint) == {*ENDPOINTS, *rules.own, "delayed_response"}
    for timepoint in rules.timepoints:
        found = protocol.timepoint[timepoint.name]
        assert (found.target, found.clinical) == (timepoint.target, timepoint.windows["clinical"])
        assert found.endoscopy == timepoint.windows.get("endoscopy")
    assert (protocol.baseline.clinical, protocol.baseline.endoscopy) == ((-28, 0), (-90, 0))
    assert protocol.source
    assert protocol.checked_by


def test_every_endpoint_of_the_contract_is_there() -> None:
    names = {endpoint.name for endpoint in load_protocol("fu2025").endpoints}
    assert names >= {
        "clinical_response", "clinical_remission", "steroid_free_remission", "sfap_remission", "endoscopic_response",
        "endoscopic_remission", "mucosal_healing", "crp_normalisation", "esr_normalisation", "fcal_normalisation",
    }  # fmt: skip


def test_protocols_of_the_same_windows_choose_values_once_for_all() -> None:
    plan = make_plan([load_protocol(name) for name in shipped_protocols()])
    own = {name: scheme.number for name, scheme in plan.scheme_of.items()}
    assert own["fu2025"] == own["u_exceed"] == own["stride2"]
    assert len({own["fu2025"], own["trial_7"], own["wide_28"]}) == len(plan.schemes) == 3


def test_a_new_endpoint_of_each_kind_and_a_new_timepoint_take_a_file_only(tmp_path: Path) -> None:
    protocol = load_protocol(written(tmp_path, OURS))
    events = [
        enrolment(),
        start(),
        visit(-7, cdai=300),
        visit(42, cdai=145),
        lab("albumin", -7, 30, unit="g/L"),
        lab("albumin", 42, 35, unit="g/L"),
        lab("lymphocytes", -7, 5),
        lab("lymphocytes", 42, 4),
    ]
    store = load(open_store(OUTCOMES, date(2025, 1, 1), protocols=[protocol]), [events])
    found = {
        row["endpoint"]: (row["status"], row["observed"])
        for row in rows(store, "FROM patient_outcomes WHERE timepoint = 'week_6'")
    }
    store.close()
    assert found["albumin_35"] == ("final", True)
    assert found["well_fed_remission"] == ("final", True)
    assert found["cr150"] == ("final", True)  # 155 lower
    assert found["cdai_halved"] == ("final", True)  # 145 of 300
    assert found["lymphocyte_normalisation"] == ("final", True)
    assert found["clinical_response"] == ("final", True)


def test_several_protocols_stand_side_by_side_in_schemes_of_their_own(tmp_path: Path) -> None:
    wide = 'extends = ["fu2025"]\n[timepoint.week_12]\nclinical = [56, 112]\n[parameter.fcal]\nupper_limit = 100\n'
    protocols = [load_protocol("fu2025"), load_protocol(written(tmp_path, wide, "wide_28"))]
    events = [enrolment(), start(), visit(-7, cdai=300), visit(60, cdai=120)]
    events += [lab("fcal", -7, 900), lab("fcal", 84, 200)]
    store = load(open_store(OUTCOMES, date(2025, 1, 1), protocols=protocols), [events])
    found = {
        (row["protocol"], row["endpoint"]): row["observed"]
        for row in rows(store, "FROM patient_outcomes WHERE timepoint = 'week_12'")
    }
    store.close()
    assert found["fu2025", "clinical_remission"] is None
    assert found["wide_28", "clinical_remission"] is True
    assert found["fu2025", "fcal_normalisation"] is True  # 200 is below 250
    assert found["wide_28", "fcal_normalisation"] is False


CRITERION = '[endpoint.mine]\nrule = "local"\npopulation = "active"\n'
MISTAKES = [
    ('extends = ["fu2025"]\n\ntitel = "x"\n', "line 3: titel: Extra inputs are not permitted"),
    (
        'extends = ["fu2025"]\n[settings]\nhct_mode = "clipped"\n',
        "line 3: settings.hct_mode: Input should be",
    ),
    (
        'extends = ["fu2025"]\n' + CRITERION + 'kind = "fall"\n',
        "line 2: endpoint.mine: kind 'fall' needs 'parameter'",
    ),
    (
        'extends = ["fu2025"]\n' + CRITERION + 'kind = "fall"\nparameter = "cdai"\nbelow = 3\n',
        "line 2: endpoint.mine: kind 'fall' needs one of at_least, more_than",
    ),
    (
        'extends = ["fu2025"]\n' + CRITERION + 'kind = "threshold"\nparameter = "albumin"\nbelow = 3\n',
        "line 6: endpoint.mine.parameter: no parameter 'albumin'",
    ),
    (
        'extends = ["fu2025"]\n' + CRITERION + 'kind = "composite"\nall_of = ["mine"]\n',
        "line 2: endpoint.mine: leads back to itself",
    ),
    (
        'extends = ["fu2025"]\n[headline]\nclinical_response = "cr10"\n',
        "line 3: headline.clinical_response: no endpoint 'cr10'",
    ),
    (
        'extends = ["fu2025"]\n[timepoint.week_12]\nclinical = [98, 70]\n',
        "line 2: timepoint.week_12: a window's first day lies after its last",
    ),
    (
        'extends = ["fu2025"]\n[population.active]\nall_of = ["cr100"]\nreason = "x"\n',
        "line 3: population.active.all_of: 'cr100' compares with baseline, and is judged there",
    ),
    (
        'extends = ["fu2025"]\n[endpoint.cr70]\npopulation = "nobody"\n',
        "line 3: endpoint.cr70.population: no population 'nobody'",
    ),
    (
        'extends = ["fu2025"]\n\n[endpoint.mine]\nkind = "fall"\nparameter = "cdai"\nat_least = 1\nrule = "x"\n',
        "line 3: endpoint.mine.population: Field required",
    ),
    ('title = "alone"\n', "line 1: version: Field required"),
    ('extends = "fu2025"\n', 'line 1: extends: names a list of files: ["fu2025"]'),
    ('extends = ["ours.toml"]\n', "extends itself"),
    ('title = "open\n', "(at line 1, column 14)"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_told_with_file_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ProtocolError) as caught:
        load_protocol(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_mistake_in_an_extended_file_is_told_of_that_file(tmp_path: Path) -> None:
    below = written(tmp_path, 'extends = ["fu2025"]\n[endpoint.cr70]\nkind = "fall"\n', "below")
    with pytest.raises(
        ProtocolError, match=r"below\.toml, line 2: endpoint\.cr70: kind 'fall' needs 'parameter'"
    ):
        load_protocol(written(tmp_path, f'extends = ["{below.name}"]\ntitle = "x"\n'))


def test_no_such_protocol_names_those_there_are() -> None:
    with pytest.raises(ProtocolError, match="shipped: fu2025, stride2, trial_7, u_exceed, wide_28"):
        load_protocol("nothing")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clinical_remission", "CDAI below 150"),
        ("cr100_or_remission", "CDAI lower by 100 or more or CDAI below 150"),
        (
            "steroid_free_remission_28",
            "CDAI below 150 and no systemic corticosteroid on the day of the CDAI and the 28 days before",
        ),
        ("ulcer_free", "highest ulcer item of the SES-CD 0"),
        ("fcal_normalisation", "calprotectin raised at baseline, now below 250 ug/g"),
    ],
)
def test_an_endpoint_in_words(name: str, words: str) -> None:
    assert in_words(load_protocol("fu2025"), name) == words


def test_differences_name_the_field(tmp_path: Path) -> None:
    other = load_protocol(written(tmp_path, 'extends = ["fu2025"]\n[settings]\nhct_mode = "signed"\n'))
    assert list(differences(load_protocol("fu2025"), other)) == [("settings.hct_mode", "clip", "signed")]


# -- the command -------------------------------------------------------------------------------------------------


def protocol(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["protocol", *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    path = written(tmp_path, 'extends = ["fu2025"]\ntitel = "x"\n')
    code, told = protocol("check", "fu2025", str(path))
    assert code == 1
    assert "fu2025: good; 34 endpoints, 6 timepoints and baseline, 170 rows a patient" in told
    assert "line 2: titel" in told
    assert protocol("check", "fu2025")[0] == 0


def test_list_shows_protocols_and_endpoints() -> None:
    assert "U-EXCEED" in protocol("list")[1]
    code, told = protocol("list", "stride2")
    assert code == 0
    assert "stride2_clinical_remission" in told


def test_diff_says_what_differs() -> None:
    code, told = protocol("diff", "fu2025", "stride2")
    assert code == 1
    assert "headline.clinical_response" in told
    assert protocol("diff", "fu2025", "fu2025") == (0, "")


def test_the_help_teaches_a_file_that_works(tmp_path: Path) -> None:
    told = protocol("--help")[1]
    example = told.split("a few lines:\n")[1].split("An endpoint is")[0]
    written(tmp_path, "\n".join(line.strip() for line in example.splitlines()))
    assert load_protocol(tmp_path / "ours.toml").endpoint["albumin_35"].at_least == 35
