//===- TuneReport.cpp - What tuning found -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneReport.h"

#include <algorithm>
#include <cmath>

namespace fresnel::tool {

static std::string fixed(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

static const CandidateReport *findCandidate(const ProblemReport &report, const std::string &schedule) {
  for (const CandidateReport &candidate : report.candidates)
    if (candidate.schedule == schedule)
      return &candidate;
  return nullptr;
}

/// Measured candidates: the latest stage first, in it the fastest.
static std::vector<const CandidateReport *> rankCandidates(const ProblemReport &report) {
  std::vector<const CandidateReport *> order;
  for (const CandidateReport &candidate : report.candidates)
    if (candidate.trial)
      order.push_back(&candidate);
  std::stable_sort(order.begin(), order.end(), [](const CandidateReport *a, const CandidateReport *b) {
    return std::make_pair(-int(a->trial->stage), a->trial->us.relative) <
           std::make_pair(-int(b->trial->stage), b->trial->us.relative);
  });
  return order;
}

//===----------------------------------------------------------------------===//
// Terminal
//===----------------------------------------------------------------------===//

/// Outcomes other than ok with their numbers, and an example of each reason.
static std::string outcomesText(const ProblemReport &report) {
  std::map<std::string, std::pair<size_t, std::string>> outcomes;
  for (const CandidateReport &candidate : report.candidates)
    if (candidate.outcome != "ok") {
      auto &[count, example] = outcomes[candidate.outcome];
      if (++count == 1)
        example = scheduleText(candidate.schedule) + ": " + candidate.reason;
    }
  std::string text;
  for (const auto &[outcome, entry] : outcomes)
    text += "  " + std::to_string(entry.first) + " " + outcome + ", e.g. " + entry.second.substr(0, 200) + "\n";
  return text;
}

static std::string problemText(const ProblemReport &report) {
  constexpr size_t kShown = 8;
  std::string text = report.subject + ", kernel " + report.kernel + " (" + rt::describe(report.problem) + ")\n";
  std::vector<std::vector<std::string>> rows = {
      {"schedule", "us", "p20", "p80", "samples", "of default", "stage", "error", ""}};
  for (const CandidateReport *candidate : rankCandidates(report)) {
    if (rows.size() > kShown)
      break;
    const rt::Trial &trial = *candidate->trial;
    bool chosen = report.chosen && report.chosen->schedule == candidate->schedule;
    bool standard = candidate->schedule == report.defaultSchedule;
    char error[32];
    std::snprintf(error, sizeof error, "%.1e", std::max(trial.verified.oracle, trial.verified.baseline));
    rows.push_back(
        {scheduleText(candidate->schedule), fixed(trial.us.median, 2), fixed(trial.us.p20, 2), fixed(trial.us.p80, 2),
         std::to_string(trial.us.count), fixed(trial.us.relative, 3), rt::nameOf(trial.stage), error,
         std::string(chosen ? "chosen" : "") + (chosen && standard ? ", " : "") + (standard ? "default" : "")});
  }
  return text + formatTable(rows) + outcomesText(report) + "\n";
}

std::string reportText(const std::vector<ProblemReport> &reports) {
  std::string text;
  std::vector<std::vector<std::string>> rows = {
      {"problem", "kernel", "default us", "chosen us", "of default", "measured", "known", "schedule chosen"}};
  for (const ProblemReport &report : reports) {
    text += problemText(report);
    const CandidateReport *standard = findCandidate(report, report.defaultSchedule);
    const CandidateReport *chosen = report.chosen ? findCandidate(report, report.chosen->schedule) : nullptr;
    auto time = [](const CandidateReport *candidate) {
      return candidate && candidate->trial ? fixed(candidate->trial->us.median, 2) : std::string("-");
    };
    rows.push_back({report.subject, report.kernel, time(standard), time(chosen),
                    report.chosen ? fixed(report.chosen->us.relative, 3) : "-", std::to_string(report.measured),
                    std::to_string(report.reused),
                    report.failure.empty() && report.chosen ? scheduleText(report.chosen->schedule) : report.failure});
  }
  return text + formatTable(rows);
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

Json reportJson(const std::vector<ProblemReport> &reports) {
  Json problems = Json::array();
  for (const ProblemReport &report : reports) {
    Json candidates = Json::array();
    for (const CandidateReport &candidate : report.candidates) {
      Json entry = {{"schedule", Json::parse(candidate.schedule)}, {"outcome", candidate.outcome}};
      if (!candidate.reason.empty())
        entry["reason"] = candidate.reason;
      if (candidate.boundUs > 0)
        entry["bound_us"] = candidate.boundUs;
      if (candidate.trial)
        entry["trial"] = Json::parse(rt::toJson({rt::RecordKind::Trial, *candidate.trial}));
      candidates.push_back(std::move(entry));
    }
    problems.push_back({{"subject", report.subject},
                        {"kernel", report.kernel},
                        {"problem", Json::parse(report.problem.key)},
                        {"default", Json::parse(report.defaultSchedule)},
                        {"chosen", report.chosen ? Json::parse(report.chosen->schedule) : Json()},
                        {"of_default", report.chosen ? Json(report.chosen->us.relative) : Json()},
                        {"failure", report.failure},
                        {"measured", report.measured},
                        {"known", report.reused},
                        {"compiled", report.compiled},
                        {"candidates", candidates}});
  }
  return problems;
}

//===----------------------------------------------------------------------===//
// HTML
//===----------------------------------------------------------------------===//

static std::string escape(const std::string &text) {
  std::string safe;
  for (char c : text)
    safe += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  return safe;
}

/// Every measured schedule as a dot: across, the time that it takes at least;
/// up, its time as a part of the default's.
static std::string plot(const ProblemReport &report) {
  constexpr double kWidth = 640, kHeight = 320, kMargin = 48;
  double lowX = 1e300, highX = 0, lowY = 1, highY = 1;
  std::vector<const CandidateReport *> dots = rankCandidates(report);
  for (const CandidateReport *dot : dots) {
    lowX = std::min(lowX, dot->boundUs);
    highX = std::max(highX, dot->boundUs);
    lowY = std::min(lowY, dot->trial->us.relative);
    highY = std::max(highY, std::min(dot->trial->us.relative, 3.0));
  }
  auto x = [&](double v) {
    return kMargin + (kWidth - 2 * kMargin) * (highX > lowX ? (v - lowX) / (highX - lowX) : 0.5);
  };
  auto y = [&](double v) {
    double at = highY > lowY ? (std::min(v, highY) - lowY) / (highY - lowY) : 0.5;
    return kHeight - kMargin - (kHeight - 2 * kMargin) * at;
  };
  std::string svg = "<svg width=\"640\" height=\"320\" font-family=\"sans-serif\" font-size=\"12\">";
  auto label = [&svg](double atX, double atY, const std::string &text) {
    svg += "<text x=\"" + fixed(atX, 0) + "\" y=\"" + fixed(atY, 0) + "\">" + escape(text) + "</text>";
  };
  svg += "<line x1=\"48\" x2=\"592\" y1=\"" + fixed(y(1), 1) + "\" y2=\"" + fixed(y(1), 1) +
         "\" stroke=\"#999\" stroke-dasharray=\"4\"/>";
  label(4, y(1) + 4, "1.00");
  label(4, y(highY) - 6, fixed(highY, 2) + " of the default's time");
  label(4, y(lowY) + 4, fixed(lowY, 2));
  label(kMargin, kHeight - 12, "lower bound " + fixed(lowX, 1) + " us");
  label(kWidth - 2 * kMargin, kHeight - 12, fixed(highX, 1) + " us");
  for (const CandidateReport *dot : dots) {
    bool chosen = report.chosen && report.chosen->schedule == dot->schedule;
    bool standard = dot->schedule == report.defaultSchedule;
    svg += "<circle cx=\"" + fixed(x(dot->boundUs), 1) + "\" cy=\"" + fixed(y(dot->trial->us.relative), 1) + "\" r=\"" +
           (chosen || standard ? "6" : "4") + "\" fill=\"" +
           (chosen     ? "#c33"
            : standard ? "#333"
                       : "#69c") +
           "\"><title>" + escape(scheduleText(dot->schedule)) + ": " + fixed(dot->trial->us.median, 2) +
           " us</title></circle>";
  }
  return svg + "</svg>\n";
}

std::string reportHtml(const std::vector<ProblemReport> &reports, const rt::DeviceClass &device) {
  std::string page =
      "<!DOCTYPE html><meta charset=\"utf-8\"><title>Tuning on " + escape(device.name) +
      "</title><style>body{font-family:sans-serif;margin:2em}pre{overflow-x:auto}</style><h1>Tuning on " +
      escape(device.name) +
      "</h1>\n<p>Red: the choice. Black: the default. Hover over a dot for its "
      "schedule.</p>\n";
  for (const ProblemReport &report : reports)
    page += "<h2>" + escape(report.subject + ", " + report.kernel) + "</h2>\n" + plot(report) + "<pre>" +
            escape(problemText(report)) + "</pre>\n";
  return page;
}

} // namespace fresnel::tool
