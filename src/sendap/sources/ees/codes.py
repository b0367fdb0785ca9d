"""Codes of the API and the labels that its CSV files use for them.

Source: Department for Education, explore-education-statistics, ``TimeIdentifier`` and ``GeographicLevel``.
"""

from __future__ import annotations

from sendap.periods import MONTH_NAMES

# Level code: label, the CSV columns of its code, its name and its second code.
LEVELS: dict[str, tuple[str, str, str, str]] = {
    "NAT": ("National", "country_code", "country_name", ""),
    "REG": ("Regional", "region_code", "region_name", ""),
    "LA": ("Local authority", "new_la_code", "la_name", "old_la_code"),
    "LAD": ("Local authority district", "lad_code", "lad_name", ""),
    "RSC": ("RSC region", "", "rsc_region_lead_name", ""),
    "PCON": ("Parliamentary constituency", "pcon_code", "pcon_name", ""),
    "LSIP": ("Local skills improvement plan area", "lsip_code", "lsip_name", ""),
    "LEP": (
        "Local enterprise partnership", "local_enterprise_partnership_code", "local_enterprise_partnership_name", "",
    ),
    "MCA": ("English devolved area", "english_devolved_area_code", "english_devolved_area_name", ""),
    "EDA": ("English devolved area", "english_devolved_area_code", "english_devolved_area_name", ""),
    "OA": ("Opportunity area", "opportunity_area_code", "opportunity_area_name", ""),
    "WARD": ("Ward", "ward_code", "ward_name", ""),
    "MAT": ("MAT", "trust_id", "trust_name", ""),
    "SPON": ("Sponsor", "sponsor_id", "sponsor_name", ""),
    "SCH": ("School", "school_urn", "school_name", "school_laestab"),
    "PROV": ("Provider", "provider_ukprn", "provider_name", ""),
    "INST": ("Institution", "institution_id", "institution_name", ""),
    "PA": ("Planning area", "planning_area_code", "planning_area_name", ""),
    "PFA": ("Police force area", "pfa_code", "pfa_name", ""),
}  # fmt: skip
LEVEL_OF_LABEL = {row[0]: code for code, row in reversed(LEVELS.items())}
LOCATION_PROPERTIES = ("id", "code", "oldCode", "urn", "laEstab", "ukprn")

SPANNING = (
    "AY", "FY", "TY", *(f"{year}Q{quarter}" for year in ("AY", "FY", "TY") for quarter in range(1, 5)),
    "T1", "T2", "T3", "T1T2", "P1", "P2",
)  # fmt: skip
"""Codes of periods in years that span two: ``2022/2023``, and six digits in a CSV file, ``202223``."""

TIME_CODES: dict[str, str] = {
    "AY": "Academic year",
    "CY": "Calendar year",
    "FY": "Financial year",
    "TY": "Tax year",
    "RY": "Reporting year",
    "T1": "Autumn term",
    "T2": "Spring term",
    "T3": "Summer term",
    "T1T2": "Autumn and spring term",
    "P1": "Part 1 (April to September)",
    "P2": "Part 2 (October to March)",
    **{
        f"{code}Q{quarter}": f"{label} Q{quarter}"
        for code, label in (("AY", "Academic year"), ("CY", "Calendar year"), ("FY", "Financial year"),
                            ("TY", "Tax year"))
        for quarter in range(1, 5)
    },
    **{f"M{number}": name for number, name in enumerate(MONTH_NAMES, 1)},
    **{f"W{number}": f"Week {number}" for number in range(1, 53)},
}  # fmt: skip
CODE_OF_IDENTIFIER = {label.lower(): code for code, label in TIME_CODES.items()}


def csv_period(period: str) -> str:
    """``2022/2023`` and ``2022/23`` as CSV files write them, ``202223``; one year stays as it is."""
    first, _, second = period.partition("/")
    return f"{first}{second[-2:]}"


def api_period(time_period: str) -> str:
    """``202223`` as the API writes it, ``2022/2023``; one year stays as it is."""
    if len(time_period) != 6:
        return time_period
    return f"{time_period[:4]}/{int(time_period[:4]) + 1}"
