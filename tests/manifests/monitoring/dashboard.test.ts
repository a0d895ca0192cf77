import { expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { METRICS } from "../../../src/status/metrics/table.ts";
import { describeWithPromtool, promtool } from "../../support/promtool.ts";
import { TemporaryFolder } from "../../support/temp.ts";
import { MANIFESTS } from "../objects.ts";
import { metricNames, unknownMetrics } from "./metric-names.ts";

const COLUMNS = 24;
const DataSource = v.strictObject({ type: v.literal("prometheus"), uid: v.literal("$datasource") });
const Place = v.strictObject({
  x: v.pipe(v.number(), v.integer(), v.minValue(0)),
  y: v.pipe(v.number(), v.integer(), v.minValue(0)),
  w: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(COLUMNS)),
  h: v.pipe(v.number(), v.integer(), v.minValue(1)),
});
const common = {
  id: v.pipe(v.number(), v.integer(), v.minValue(1)),
  title: v.pipe(v.string(), v.minLength(1)),
  gridPos: Place,
};
const Step = v.strictObject({ color: v.string(), value: v.nullable(v.number()) });

/** A row, or a panel with what it asks Prometheus; nothing in a panel that nobody looks at. */
const Panel = v.variant("type", [
  v.strictObject({ type: v.literal("row"), ...common, collapsed: v.literal(false), panels: v.tuple([]) }),
  v.strictObject({
    type: v.picklist(["stat", "timeseries"]),
    ...common,
    description: v.optional(v.string()),
    datasource: DataSource,
    fieldConfig: v.strictObject({
      defaults: v.strictObject({
        unit: v.picklist(["short", "s", "bytes", "percentunit", "ops"]),
        min: v.literal(0),
        thresholds: v.strictObject({ mode: v.literal("absolute"), steps: v.array(Step) }),
      }),
      overrides: v.tuple([]),
    }),
    options: v.looseObject({}),
    targets: v.pipe(
      v.array(
        v.strictObject({
          refId: v.pipe(v.string(), v.regex(/^[A-Z]$/)),
          datasource: DataSource,
          expr: v.pipe(v.string(), v.minLength(1)),
          legendFormat: v.string(),
        }),
      ),
      v.minLength(1),
    ),
  }),
]);

/** As Grafana's own dashboards have it (`templating`, `panels`, `schemaVersion`). */
const Dashboard = v.looseObject({
  uid: v.pipe(v.string(), v.regex(/^[a-zA-Z0-9_-]{1,40}$/)),
  title: v.string(),
  schemaVersion: v.number(),
  templating: v.object({
    list: v.array(v.looseObject({ name: v.string(), type: v.picklist(["datasource", "query"]) })),
  }),
  panels: v.array(Panel),
});

const text = await Bun.file(join(MANIFESTS, "monitoring", "dashboard.json")).text();
const { panels, templating } = v.parse(Dashboard, JSON.parse(text));
const targets = panels.flatMap((panel) => (panel.type === "row" ? [] : panel.targets));

test("no panel lies over another, or beside the page, and each has its number", () => {
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const taken = new Set<string>();
  for (const { title, gridPos } of panels) {
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(COLUMNS);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect({ title, isTaken: taken.has(`${x} ${y}`) }).toEqual({ title, isTaken: false });
        taken.add(`${x} ${y}`);
      }
    }
  }
});

test("a panel's letters are its own, and its legends name labels that its expression keeps", () => {
  for (const panel of panels) {
    if (panel.type === "row") continue;
    expect(new Set(panel.targets.map(({ refId }) => refId)).size).toBe(panel.targets.length);
    for (const { expr, legendFormat } of panel.targets) {
      for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        const kept = [...expr.matchAll(/\bby \(([^)]*)\)/g)].map(([, names = ""]) => names.split(", "));
        if (kept.length > 0) for (const names of kept) expect(names).toContain(label);
        else expect(label).toBe("instance");
      }
    }
  }
});

test("what it shows is what agents have, and the variables that it uses are there", () => {
  const asked = targets.flatMap(({ expr }) => metricNames(expr));
  expect(asked.length).toBeGreaterThan(20);
  expect(unknownMetrics(asked, Object.keys(METRICS))).toEqual([]);
  const used = new Set(
    [...text.matchAll(/\$(\w+)/g)].map(([, name]) => name).filter((name) => !name?.startsWith("__")),
  );
  expect([...used].sort()).toEqual(templating.list.map(({ name }) => name).sort());
});

test("the operator's Grafana gets the same", async () => {
  const path = join(MANIFESTS, "kustomize", "components", "monitoring", "dashboard.yaml");
  const ConfigMap = v.object({ data: v.strictObject({ "tartan.json": v.string() }) });
  expect(v.parse(ConfigMap, Bun.YAML.parse(await Bun.file(path).text())).data["tartan.json"]).toBe(text);
});

describeWithPromtool("Prometheus' promtool", () => {
  test("can read each expression", async () => {
    using folder = new TemporaryFolder();
    const rules = targets.map(({ expr }, index) => ({
      record: `panel:${index}`,
      expr: expr.replaceAll("$__rate_interval", "5m").replaceAll("$instance", ".*"),
    }));
    const check = async (given: readonly object[]) => {
      await Bun.write(folder.at("rules.yml"), JSON.stringify({ groups: [{ name: "dashboard", rules: given }] }));
      return promtool(["check", "rules", folder.at("rules.yml")]);
    };
    expect(await check(rules)).toMatchObject({
      code: 0,
      output: expect.stringContaining(`${rules.length} rules found`),
    });
    expect((await check([...rules, { record: "panel:bad", expr: "sum(tartan_ready" }])).code).not.toBe(0);
  });
});
