"""Any page, from what it shows: which template a form has, and which figures."""

from __future__ import annotations

from reports.calibration import MachineCard
from reports.calibration_page import render_calibration
from reports.capacity import CapacityCard
from reports.capacity_page import render_capacity
from reports.compared import Comparison
from reports.comparison_page import render_comparison
from reports.page import render_report
from reports.page_data import Page
from reports.recommendation import Recommendation
from reports.recommendation_page import render_recommendation
from reports.scorecard import Scorecard
from reports.scorecard_page import render_scorecard
from reports.serving import ServedCard
from reports.serving_page import render_served
from reports.study import StudyCard
from reports.study_page import render_study
from reports.whatif import WhatIf
from reports.whatif_page import render_whatif


def render_page_of(page: Page, static: bool = False) -> str:
    """``page`` as one HTML document; a ``static`` one has no scripts."""
    match page.subject:
        case ServedCard():
            return render_served(page.subject, static)
        case StudyCard():
            return render_study(page.subject, static)
        case Scorecard():
            return render_scorecard(page.subject, static)
        case MachineCard():
            return render_calibration(page.subject, static)
        case WhatIf():
            return render_whatif(page.subject, static)
        case Comparison():
            return render_comparison(page.subject, static)
        case Recommendation():
            return render_recommendation(page.subject, static)
        case CapacityCard():
            return render_capacity(page.subject, static)
        case results:
            return render_report(results, page.title, page.lead, static)
