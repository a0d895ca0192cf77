// Grafana's dashboard: the rows of panels.ts in Grafana's JSON.
import { JOB } from "./alerts.ts";
import { type Panel, ROWS } from "./panels.ts";

const COLUMNS = 24;
const DATASOURCE = { type: "prometheus", uid: "$datasource" };

function panelJson(panel: Panel, id: number, at: { readonly x: number; readonly y: number }): object {
  const { title, help, kind, unit, width, targets, badFrom } = panel;
  const green = { color: "green", value: null };
  const steps = badFrom === undefined ? [green] : [green, { color: "red", value: badFrom }];
  return {
    id,
    type: kind,
    title,
    ...(help === undefined ? {} : { description: help }),
    datasource: DATASOURCE,
    gridPos: { ...at, w: width, h: heightOf(panel) },
    fieldConfig: { defaults: { unit, min: 0, thresholds: { mode: "absolute", steps } }, overrides: [] },
    options:
      kind === "stat"
        ? {
            reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
            colorMode: "value",
            graphMode: "area",
          }
        : { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi", sort: "desc" } },
    targets: targets.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode("A".charCodeAt(0) + index),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
    })),
  };
}

function heightOf({ kind }: Panel): number {
  return kind === "stat" ? 4 : 8;
}

function panelsJson(): object[] {
  let id = 0;
  let y = 0;
  return ROWS.flatMap(({ title, panels }) => {
    const row = { id: ++id, type: "row", title, collapsed: false, panels: [], gridPos: { x: 0, y, w: COLUMNS, h: 1 } };
    y++;
    let x = 0;
    const placed = panels.map((panel) => {
      if (x + panel.width > COLUMNS) {
        x = 0;
        y += heightOf(panel);
      }
      const made = panelJson(panel, ++id, { x, y });
      x += panel.width;
      return made;
    });
    const last = panels.at(-1);
    y += last === undefined ? 0 : heightOf(last);
    return [row, ...placed];
  });
}

const variable = (name: string, label: string, more: object): object => ({ name, label, hide: 0, ...more });

/** Grafana asks for the data source once, and the dashboard is imported or provisioned as it is. */
export const DASHBOARD = {
  uid: "tartan",
  title: "tartan: pod network",
  tags: ["kubernetes", "network"],
  schemaVersion: 39,
  version: 1,
  editable: true,
  graphTooltip: 1,
  refresh: "30s",
  time: { from: "now-3h", to: "now" },
  timezone: "",
  templating: {
    list: [
      variable("datasource", "Data source", { type: "datasource", query: "prometheus" }),
      variable("instance", "Node", {
        type: "query",
        datasource: DATASOURCE,
        query: { query: `label_values(up{job="${JOB}"}, instance)`, refId: "instance" },
        refresh: 2,
        multi: true,
        includeAll: true,
        allValue: ".*",
        sort: 1,
      }),
    ],
  },
  annotations: { list: [] },
  panels: panelsJson(),
};
