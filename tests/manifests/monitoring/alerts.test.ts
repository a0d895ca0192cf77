import { expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { METRICS } from "../../../src/status/metrics/table.ts";
import { describeWithPromtool, promtool } from "../../support/promtool.ts";
import { TemporaryFolder } from "../../support/temp.ts";
import { MANIFESTS } from "../objects.ts";
import { ALERT_CASES, type AlertCase } from "./alert-cases.ts";
import { metricNames, unknownMetrics } from "./metric-names.ts";

const RULES = join(MANIFESTS, "monitoring", "rules.yml");
const COMPONENT = join(MANIFESTS, "kustomize", "components", "monitoring");

const Alert = v.strictObject({
  alert: v.pipe(v.string(), v.regex(/^Tartan[A-Z]/)),
  expr: v.string(),
  for: v.pipe(v.string(), v.regex(/^\d+m$/)),
  labels: v.strictObject({ severity: v.picklist(["critical", "warning"]) }),
  annotations: v.strictObject({ summary: v.string(), description: v.string(), action: v.string() }),
});
type Alert = v.InferOutput<typeof Alert>;
const Groups = v.strictObject({
  groups: v.tuple([v.strictObject({ name: v.literal("tartan"), rules: v.array(Alert) })]),
});

const alerts = v.parse(Groups, Bun.YAML.parse(await Bun.file(RULES).text())).groups[0].rules;

test("each alert has its cases, and no case is without an alert", () => {
  expect(alerts.map(({ alert }) => alert).sort()).toEqual(Object.keys(ALERT_CASES).sort());
});

test("what the alerts ask for is what agents have", () => {
  const asked = alerts.flatMap(({ expr }) => metricNames(expr));
  expect(asked.length).toBeGreaterThanOrEqual(alerts.length);
  expect(unknownMetrics(asked, Object.keys(METRICS))).toEqual([]);
  expect(unknownMetrics(["tartan_readiness", "up"], Object.keys(METRICS))).toEqual(["tartan_readiness"]);
});

test("the operator gets the same rules", async () => {
  const Rule = v.object({ kind: v.literal("PrometheusRule"), spec: Groups });
  const text = await Bun.file(join(COMPONENT, "rules.yaml")).text();
  expect(v.parse(Rule, Bun.YAML.parse(text)).spec.groups[0].rules).toEqual(alerts);
});

/** What Prometheus makes of an annotation. */
function expand(text: string, { labels, value = "" }: AlertCase): string {
  return text
    .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, (_, name: string) => labels[name] ?? "(no such label)")
    .replaceAll(/\{\{ \$value( \| humanize)? \}\}/g, value);
}

function testFile(alert: Alert, alertCase: AlertCase): object {
  const minutes = Number.parseInt(alert.for, 10);
  const series = (given: AlertCase["fires"]) =>
    Object.entries(given).map(([name, values]) => ({ series: name, values }));
  const firing = {
    exp_labels: { ...alertCase.labels, severity: alert.labels.severity },
    exp_annotations: Object.fromEntries(
      Object.entries(alert.annotations).map(([name, text]) => [name, expand(text, alertCase)]),
    ),
  };
  const at = (minute: number, expected: readonly object[]) => ({
    eval_time: `${minute}m`,
    alertname: alert.alert,
    exp_alerts: expected,
  });
  const silentAt = [minutes, minutes + 10, 45].map((minute) => at(minute, []));
  return {
    rule_files: [RULES],
    evaluation_interval: "1m",
    tests: [
      // A counter's increase takes a while to be large.
      {
        interval: "1m",
        input_series: series(alertCase.fires),
        alert_rule_test: [at(minutes - 1, []), at(45, [firing])],
      },
      ...alertCase.silent.map((given) => ({
        interval: "1m",
        input_series: series(given),
        alert_rule_test: silentAt,
      })),
    ],
  };
}

describeWithPromtool("Prometheus' promtool", () => {
  test("takes the rules", async () => {
    expect(await promtool(["check", "rules", RULES])).toMatchObject({
      code: 0,
      output: expect.stringContaining("SUCCESS"),
    });
  });

  test.each(alerts.map((alert) => [alert.alert, alert] as const))(
    "%s fires when it should, and only then",
    async (name, alert) => {
      const alertCase = ALERT_CASES[name];
      if (alertCase === undefined) throw new Error(`${name} has no cases`);
      using folder = new TemporaryFolder();
      await Bun.write(folder.at("test.yml"), JSON.stringify(testFile(alert, alertCase)));
      const { code, output } = await promtool(["test", "rules", folder.at("test.yml")]);
      expect(output).toContain("SUCCESS");
      expect(code).toBe(0);
    },
  );

  test("takes the scrape configuration; Debian's lacks only the discovery of pods", async () => {
    using folder = new TemporaryFolder();
    const text = await Bun.file(join(MANIFESTS, "monitoring", "scrape-config.yml")).text();
    expect(text).toContain("kubernetes_sd_configs:");
    const discovery = /kubernetes_sd_configs:\n {6}- role: pod\n {8}namespaces:\n {10}names:\n {12}- kube-flannel\n/;
    const without = text.replace(discovery, "static_configs:\n      - targets: [192.0.2.1]\n");
    expect(without).not.toBe(text);
    await Bun.write(folder.at("prometheus.yml"), without);
    await Bun.write(folder.at("rules.yml"), Bun.file(RULES));
    expect(await promtool(["check", "config", folder.at("prometheus.yml")])).toMatchObject({ code: 0 });
  });
});
