import type { LeaseKind } from "./lease-plan.ts";
import type { PairResult } from "./pairs.ts";
import { table } from "./table.ts";

/** What a lab found. */
export interface LabReport {
  readonly lease: LeaseReport;
  readonly nodes: readonly NodeReport[];
  readonly pairs: readonly PairResult[];
  readonly encapsulated: boolean;
  /** a packet on the switch, as tcpdump would print it */
  readonly capture: string | undefined;
}

/** Where the agents' leases are. */
export interface LeaseReport {
  readonly source: LeaseKind;
  /** its URL on the underlay, if it is a server */
  readonly server: string | null;
  /** shell commands that show what is in it while the lab stays */
  readonly inspect: readonly string[];
}

export interface NodeReport {
  readonly name: string;
  readonly subnet: string;
  readonly publicIP: string;
  readonly vtepMAC: string;
  readonly debugURL: string;
}

/** Marks text for the eye; where there are no colours it returns the text as it is. */
export type Paint = (colour: "green" | "red" | "bold", text: string) => string;

/** What the lab is to show: every pair reached, through VXLAN. */
export function succeeded({ pairs, encapsulated }: LabReport): boolean {
  return encapsulated && pairs.every(({ received }) => received > 0);
}

/** One JSON document. */
export function reportJson({ lease, nodes, pairs, encapsulated, capture }: LabReport): string {
  return `${JSON.stringify({ lease, nodes, pairs, encapsulated, capture: capture ?? null }, null, 2)}\n`;
}

export function reportText(report: LabReport, paint: Paint): string {
  const { lease, nodes, capture } = report;
  const sections = [
    headed(nodeTable(report), paint),
    [paint("bold", "LEASES"), describeSource(lease)],
    pairTable(report, paint),
    [paint("bold", "ON THE WIRE, BETWEEN THE NODES"), capture ?? paint("red", "no VXLAN packet was seen")],
    [
      paint("bold", "TO LOOK INSIDE, WHILE THE LAB RUNS"),
      ...nodes.map(({ debugURL }) => `curl ${debugURL}/debug/state`),
      ...lease.inspect,
    ],
    verdict(report).map((line) => paint(succeeded(report) ? "green" : "red", line)),
  ];
  return `${sections.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

const SOURCES: Readonly<Record<LeaseKind, string>> = {
  embedded: "in a file that the agents share",
  etcd: "in etcd",
  kube: "in Kubernetes' Nodes",
};

function describeSource({ source, server }: LeaseReport): string {
  return server === null ? SOURCES[source] : `${SOURCES[source]}, at ${server}`;
}

function headed([head = "", ...rows]: readonly string[], paint: Paint): string[] {
  return [paint("bold", head), ...rows];
}

function nodeTable({ nodes }: LabReport): string[] {
  const titles = ["NODE", "SUBNET", "PUBLIC ADDRESS", "VTEP MAC", "DEBUG URL"].map((title) => ({ title }));
  return table(
    titles,
    nodes.map(({ name, subnet, publicIP, vtepMAC, debugURL }) => [name, subnet, publicIP, vtepMAC, debugURL]),
  );
}

function pairTable({ pairs }: LabReport, paint: Paint): string[] {
  const numbers = ["SENT", "RECEIVED", "LOSS", "RTT"].map((title) => ({ title, align: "right" }) as const);
  const rows = pairs.map(({ from, to, sent, received, rttMs }) => [
    from,
    to,
    `${sent}`,
    `${received}`,
    sent === 0 ? "-" : `${Math.round((100 * (sent - received)) / sent)} %`,
    rttMs === null ? "-" : `${rttMs.toFixed(3)} ms`,
  ]);
  const [head = "", ...lines] = table([{ title: "FROM" }, { title: "TO" }, ...numbers], rows);
  return [
    paint("bold", head),
    ...lines.map((line, at) => {
      const pair = pairs[at];
      return pair !== undefined && pair.received < pair.sent ? paint("red", line) : line;
    }),
  ];
}

function verdict(report: LabReport): string[] {
  const { pairs, encapsulated } = report;
  if (succeeded(report)) return [`All ${pairs.length} pairs reached, through VXLAN.`];
  const lost = pairs.filter(({ received }) => received === 0);
  return [
    ...(lost.length > 0 ? [`Not reached: ${lost.map(({ from, to }) => `${from} to ${to}`).join(", ")}.`] : []),
    ...(encapsulated ? [] : ["Not every pair was seen in VXLAN on the switch."]),
  ];
}
