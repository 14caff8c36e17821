//===- BenchReport.cpp - A benchmark as text, JSON and a page ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include <algorithm>
#include <cmath>

namespace fresnel::tool {

static std::string fixed(double value, int digits) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

Shares computeShares(const StepTime &step, const Ceilings &ceilings) {
  Shares shares;
  double seconds = step.us.median * 1e-6;
  if (!step.cost || seconds <= 0)
    return shares;
  shares.bytesPerSecond = double(step.cost->bytes()) / seconds;
  shares.flopsPerSecond = double(step.cost->flops) / seconds;
  shares.ofCopy = ceilings.copy > 0 ? shares.bytesPerSecond / ceilings.copy : 0;
  shares.ofMatrix = ceilings.matrix > 0 ? shares.flopsPerSecond / ceilings.matrix : 0;
  // Of the two ceilings the one that takes longer bounds the time.
  shares.ofRoof = std::max(shares.ofCopy, shares.ofMatrix);
  return shares;
}

//===----------------------------------------------------------------------===//
// Terminal
//===----------------------------------------------------------------------===//

static std::string planText(const PlanTimes &plan, const Ceilings &ceilings) {
  std::vector<std::vector<std::string>> rows = {
      {"kernel", "us", "p20", "p80", "MB", "GFLOP", "TB/s", "TFLOP/s", "% of copy", "% of matrix", ""}};
  for (const StepTime &step : plan.steps) {
    Shares shares = computeShares(step, ceilings);
    std::vector<std::string> row = {step.kernel, fixed(step.us.median, 1), fixed(step.us.p20, 1),
                                    fixed(step.us.p80, 1)};
    if (step.cost)
      for (const std::string &cell :
           {fixed(double(step.cost->bytes()) * 1e-6, 1), fixed(double(step.cost->flops) * 1e-9, 2),
            fixed(shares.bytesPerSecond * 1e-12, 3), fixed(shares.flopsPerSecond * 1e-12, 1),
            fixed(100 * shares.ofCopy, 0), fixed(100 * shares.ofMatrix, 0),
            std::string(step.cost->exact ? "" : "at most")})
        row.push_back(cell);
    else
      row.insert(row.end(), {"-", "-", "-", "-", "-", "-", "no cost in the bundle"});
    rows.push_back(row);
  }
  std::string text = plan.name + " plan\n" + formatTable(rows);
  text += "sum of the kernels " + fixed(plan.sumOfSteps(), 1) + " us";
  for (const auto &[mode, us] : plan.whole)
    text +=
        "; " + mode + " launches " + fixed(us.median, 1) + " (" + fixed(us.p20, 1) + " to " + fixed(us.p80, 1) + ")";
  return text + "; workspace " + formatBytes(uint64_t(plan.workspaceBytes)) + "\n";
}

static std::string checksText(const BenchResult &result) {
  std::string text;
  for (const OutputCheck &check : result.checks) {
    char error[48] = "", runs[80] = "the same in two runs";
    if (check.relativeL2 >= 0)
      std::snprintf(error, sizeof error, ", relative L2 %.2e from the oracle", check.relativeL2);
    if (check.betweenRuns >= 0)
      std::snprintf(runs, sizeof runs, "relative L2 %.2e between two runs, which add in any order", check.betweenRuns);
    text += "output " + check.output + ": " +
            (check.problem.empty() ? "written, no NaN, " + std::string(runs) + error : "FAILED: " + check.problem) +
            "\n";
  }
  return text;
}

/// What was measured on, and how.
static std::string conditionsText(const BenchResult &result) {
  const Ceilings &ceilings = result.ceilings;
  std::string text = "device copy " + fixed(ceilings.copy * 1e-12, 3) + " TB/s (" +
                     formatBytes(uint64_t(ceilings.copyBytes)) + ", read and written), matrix products " +
                     fixed(ceilings.matrix * 1e-12, 0) + " TFLOP/s (" + ceilings.matrixOp + "), both measured here\n";
  text += "medians of " + std::to_string(result.plans.empty() ? 0 : result.plans[0].steps[0].us.count) +
          " launches, L2 read full before each (" + formatBytes(uint64_t(result.flushBytes)) +
          "), as many bytes of it to be written back as the kernel leaves; two events with nothing between them: " +
          fixed(result.nothing.median, 1) + " us";
  if (result.clockHigh > 0)
    text += "; SM clock " + std::to_string(result.clockLow) + " to " + std::to_string(result.clockHigh) + " MHz";
  if (result.throttled > 0)
    text += "; " + std::to_string(result.throttled) + " throttled rounds left out";
  return text + "\n";
}

std::string benchText(const std::string &method, const BenchResult &result) {
  std::string text = method + " on " + result.device.name + "\n" + checksText(result);
  if (!result.ok())
    return text + "nothing was timed: the results are wrong\n";
  text += conditionsText(result);
  for (const PlanTimes &plan : result.plans)
    text += "\n" + planText(plan, result.ceilings);
  if (result.savedBytes > 0)
    text += "saved between the plans: " + formatBytes(uint64_t(result.savedBytes)) + "\n";
  return text;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

static Json spreadJson(const Spread &us) {
  return {{"median", us.median}, {"p20", us.p20}, {"p80", us.p80}, {"count", us.count}};
}

static Json stepJson(const StepTime &step, const Ceilings &ceilings) {
  Json entry = {{"kernel", step.kernel}, {"op", step.op}, {"us", spreadJson(step.us)}};
  if (!step.cost)
    return entry;
  Shares shares = computeShares(step, ceilings);
  entry["bytes_read"] = step.cost->bytesRead;
  entry["bytes_written"] = step.cost->bytesWritten;
  entry["flops"] = step.cost->flops;
  entry["exact"] = step.cost->exact;
  entry["tb_s"] = shares.bytesPerSecond * 1e-12;
  entry["tflop_s"] = shares.flopsPerSecond * 1e-12;
  entry["of_copy"] = shares.ofCopy;
  entry["of_matrix"] = shares.ofMatrix;
  return entry;
}

Json benchJson(const std::string &method, const BenchResult &result) {
  Json checks = Json::array(), plans = Json::array();
  for (const OutputCheck &check : result.checks)
    checks.push_back({{"output", check.output},
                      {"ok", check.problem.empty()},
                      {"problem", check.problem},
                      {"relative_l2", check.relativeL2 < 0 ? Json() : Json(check.relativeL2)},
                      {"between_runs", check.betweenRuns < 0 ? Json() : Json(check.betweenRuns)}});
  for (const PlanTimes &plan : result.plans) {
    Json kernels = Json::array(), whole = Json::object();
    for (const StepTime &step : plan.steps)
      kernels.push_back(stepJson(step, result.ceilings));
    for (const auto &[mode, us] : plan.whole)
      whole[mode] = spreadJson(us);
    plans.push_back({{"plan", plan.name},
                     {"us", whole},
                     {"sum_of_kernels_us", plan.sumOfSteps()},
                     {"workspace_bytes", plan.workspaceBytes},
                     {"kernels", kernels}});
  }
  return {{"ok", result.ok()},
          {"method", method},
          {"device",
           {{"name", result.device.name},
            {"compute", result.device.computeMajor * 10 + result.device.computeMinor},
            {"multiprocessors", result.device.multiprocessors}}},
          {"checks", checks},
          {"ceilings",
           {{"copy_tb_s", result.ceilings.copy * 1e-12},
            {"copy_bytes", result.ceilings.copyBytes},
            {"matrix_tflop_s", result.ceilings.matrix * 1e-12},
            {"matrix_op", result.ceilings.matrixOp}}},
          {"flush_bytes", result.flushBytes},
          {"empty_us", result.nothing.median},
          {"clock_mhz", {result.clockLow, result.clockHigh}},
          {"throttled_rounds", result.throttled},
          {"saved_bytes", result.savedBytes},
          {"plans", plans}};
}

//===----------------------------------------------------------------------===//
// Page
//===----------------------------------------------------------------------===//

static std::string escape(const std::string &text) {
  std::string safe;
  for (char c : text)
    safe += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : c == '"' ? "&quot;" : std::string(1, c);
  return safe;
}

namespace {
/// A roofline: across, FLOP per byte; up, FLOP per second; both logarithmic.
class Roofline {
public:
  explicit Roofline(const BenchResult &result) : result(result) {
    for (const PlanTimes &plan : result.plans)
      for (const StepTime &step : plan.steps)
        if (step.cost && step.cost->flops > 0 && step.cost->bytes() > 0)
          include(double(step.cost->flops) / double(step.cost->bytes()),
                  computeShares(step, result.ceilings).flopsPerSecond);
    include(result.ceilings.matrix / std::max(result.ceilings.copy, 1.0), result.ceilings.matrix);
  }

  std::string draw() {
    svg = "<svg width=\"760\" height=\"420\" font-family=\"sans-serif\" font-size=\"12\">";
    drawAxes();
    drawRoof();
    size_t plan = 0;
    for (const PlanTimes &times : result.plans) {
      for (const StepTime &step : times.steps)
        drawStep(times, step, plan == 0 ? "#c33" : "#36c");
      ++plan;
    }
    return svg + "</svg>\n";
  }

private:
  static constexpr double kWidth = 760, kHeight = 420, kMargin = 56;

  void include(double intensity, double rate) {
    if (intensity <= 0 || rate <= 0)
      return;
    lowX = std::min(lowX, intensity / 2);
    highX = std::max(highX, intensity * 4);
    lowY = std::min(lowY, rate / 2);
    highY = std::max(highY, rate * 2);
  }
  double x(double intensity) const {
    return kMargin + (kWidth - 2 * kMargin) * std::log(intensity / lowX) / std::log(highX / lowX);
  }
  double y(double rate) const {
    return kHeight - kMargin - (kHeight - 2 * kMargin) * std::log(rate / lowY) / std::log(highY / lowY);
  }
  void line(double x1, double y1, double x2, double y2, const char *style) {
    svg += "<line x1=\"" + fixed(x1, 1) + "\" y1=\"" + fixed(y1, 1) + "\" x2=\"" + fixed(x2, 1) + "\" y2=\"" +
           fixed(y2, 1) + "\" " + style + "/>";
  }
  void label(double atX, double atY, const std::string &text) {
    svg += "<text x=\"" + fixed(atX, 1) + "\" y=\"" + fixed(atY, 1) + "\">" + escape(text) + "</text>";
  }

  void drawAxes() {
    const char *style = "stroke=\"#ddd\"";
    for (double tick = std::pow(10, std::ceil(std::log10(lowX))); tick <= highX; tick *= 10) {
      line(x(tick), kMargin, x(tick), kHeight - kMargin, style);
      label(x(tick) - 8, kHeight - kMargin + 16, fixed(tick, tick < 1 ? 2 : 0));
    }
    for (double tick = std::pow(10, std::ceil(std::log10(lowY))); tick <= highY; tick *= 10) {
      line(kMargin, y(tick), kWidth - kMargin, y(tick), style);
      label(4, y(tick) + 4, fixed(tick * 1e-12, tick < 1e12 ? 2 : 0));
    }
    label(kWidth / 2 - 40, kHeight - 12, "FLOP per byte");
    label(4, kMargin - 16, "TFLOP/s");
  }

  void drawRoof() {
    double copy = result.ceilings.copy, matrix = result.ceilings.matrix;
    if (copy <= 0 || matrix <= 0)
      return;
    double ridge = matrix / copy, start = std::max(lowX, lowY / copy);
    const char *style = "stroke=\"#333\" stroke-width=\"2\"";
    line(x(start), y(start * copy), x(ridge), y(matrix), style);
    line(x(ridge), y(matrix), kWidth - kMargin, y(matrix), style);
    label(x(ridge) + 8, y(matrix) - 8, "matrix " + fixed(matrix * 1e-12, 0) + " TFLOP/s");
    label(x(std::sqrt(start * ridge)) - 130, y(std::sqrt(start * ridge) * copy) - 8,
          "copy " + fixed(copy * 1e-12, 2) + " TB/s");
  }

  void drawStep(const PlanTimes &plan, const StepTime &step, const char *colour) {
    Shares shares = computeShares(step, result.ceilings);
    if (!step.cost || step.cost->bytes() == 0 || shares.flopsPerSecond <= 0)
      return;
    double intensity = double(step.cost->flops) / double(step.cost->bytes());
    svg += "<circle cx=\"" + fixed(x(intensity), 1) + "\" cy=\"" + fixed(y(shares.flopsPerSecond), 1) +
           "\" r=\"5\" fill=\"" + colour + "\"><title>" + escape(plan.name + ": " + step.kernel) + ", " +
           fixed(step.us.median, 1) + " us, " + fixed(100 * shares.ofRoof, 0) + " % of the roof</title></circle>";
  }

  const BenchResult &result;
  std::string svg;
  double lowX = 1e300, highX = 0, lowY = 1e300, highY = 0;
};
} // namespace

std::string benchHtml(const std::string &method, const BenchResult &result) {
  std::string title = method + " on " + result.device.name;
  std::string page = "<!DOCTYPE html><meta charset=\"utf-8\"><title>" + escape(title) +
                     "</title><style>body{font-family:sans-serif;margin:2em}pre{overflow-x:auto}</style><h1>" +
                     escape(title) + "</h1>\n";
  if (result.ok())
    page += "<p>Red: the forward plan. Blue: the backward plan. Hover over a dot for its kernel; kernels without "
            "arithmetic are in the table only.</p>\n" +
            Roofline(result).draw();
  return page + "<pre>" + escape(benchText(method, result)) + "</pre>\n";
}

} // namespace fresnel::tool
